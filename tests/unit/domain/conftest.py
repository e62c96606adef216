"""Property tests take as long as a busy machine needs, and leave no files behind."""

from hypothesis import settings

settings.register_profile("unit", deadline=None, database=None, max_examples=60)
settings.load_profile("unit")
