"""Property tests run on busy machines as well: no example has to be done within a fixed time."""

from hypothesis import settings

settings.register_profile("edge", deadline=None)
settings.load_profile("edge")
