"""The ledger's rules once more, as plainly as they can be said: the tests' second opinion.

Nothing is fast here, and nothing is shared with the ledger: amounts are integers that move
between attributes, time is a number that tests set, and each verb answers with a tuple.
"""

from tests.harness.model.books import Rules
from tests.harness.model.caps import CapName
from tests.harness.model.executions import Identity
from tests.harness.model.grants import PARTS, Grant
from tests.harness.model.ledger import Model

__all__ = ["PARTS", "CapName", "Grant", "Identity", "Model", "Rules"]
