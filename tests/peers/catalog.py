"""The systems, in the order in which they run."""

from tests.peers.systems.creditgate import CREDITGATE
from tests.peers.systems.litellm_proxy import KEY_BUDGET, PROVIDER_BUDGET
from tests.peers.systems.portkey import PORTKEY
from tests.peers.systems.tensorzero import TENSORZERO

SYSTEMS = (CREDITGATE, KEY_BUDGET, PROVIDER_BUDGET, TENSORZERO, PORTKEY)
