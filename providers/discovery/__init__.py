"""Which models an upstream offers, and what each is: by its own words, and by the model's name where it has none.

    Target → places → list_models (→ read) → Reading → typed → Discovered

What the words of vendors mean, and which names stand for which type, is data: `words`. Nothing asks who the vendor is.
"""

from providers.discovery.discovered import Discovered, Known, Source, typed
from providers.discovery.listing import Bounds, Listing, list_models, places
from providers.discovery.reading import Reading, read

__all__ = ["Bounds", "Discovered", "Known", "Listing", "Reading", "Source", "list_models", "places", "read", "typed"]
