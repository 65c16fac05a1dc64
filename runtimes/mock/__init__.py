"""A runtime that only pretends: OpenAI's API and an API of its own to manage models, inside this process.

It needs no key, no server and no model, gives the same answer to the same question, and keeps what is installed and
loaded in a file, so that all processes of an installation see the same. Its driver is `runtimes.drivers.mock`.

    api      the paths, and what each answers
    answers  chats, vectors and rankings: pure
    store    which models there are, which are loaded, and how far downloads came
    names    what a name says: size, kind, and the faults it is to show
"""

from runtimes.mock.api import handle

HOST = "mock"

__all__ = ["HOST", "handle"]
