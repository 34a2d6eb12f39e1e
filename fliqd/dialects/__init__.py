"""The stand-in APIs: each speaks as another service does, over the same operations as `/v1`."""

from fliqd.api.app import Services, StandIn
from fliqd.dialects import fliq
from fliqd.dialects.booper import Booper
from fliqd.dialects.dispatchq import DispatchQ
from fliqd.dialects.quedup import QuedUp
from fliqd.settings import StandIns


def stand_ins(services: Services, settings: StandIns) -> tuple[StandIn, ...]:
    """Return all of them, over the services of a daemon."""
    booper = Booper(services, dynamic_fields=settings.booper_dynamic_fields)
    return (*fliq.both(services), booper, DispatchQ(services), QuedUp(services))
