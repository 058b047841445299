"""What all tests share: no random input is timed, a busy machine is not a fault."""

from hypothesis import settings

settings.register_profile("untimed", parent=settings.default, deadline=None)
settings.load_profile("untimed")
