"""The configuration: a YAML file, and what it says once every mistake is out of it.

This package is the only reader of the environment.
"""

from runtime.config.errors import ConfigError, Mistake
from runtime.config.loader import load_config, parse_config
from runtime.config.sections import Config

__all__ = ["Config", "ConfigError", "Mistake", "load_config", "parse_config"]
