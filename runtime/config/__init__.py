"""The configuration: a YAML file, read and checked as a whole.

Only this package reads the environment.
"""

from runtime.config.errors import ConfigError, Mistake
from runtime.config.loader import load_config, parse_config
from runtime.config.sections import Config

__all__ = ["Config", "ConfigError", "Mistake", "load_config", "parse_config"]
