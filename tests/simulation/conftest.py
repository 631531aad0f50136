from hypothesis import settings

from tests.support.isolation import alone as alone
from tests.support.logs import log as log

settings.load_profile("unit")
