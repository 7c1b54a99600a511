"""The compiled core of the router (native/statekeep.h), bound by cffi."""

from typing import Any

ffi: Any
lib: Any
