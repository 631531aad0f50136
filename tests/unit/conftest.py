from hypothesis import settings

from tests.support.isolation import alone as alone

settings.load_profile("unit")
