"""The cores of the order book that the same tests run on: the one in Python, and the compiled one where it is built."""

from typing import Any

import pytest

from shared.errors import InvalidSetting
from workers.engine.core import order_book

try:
    COMPILED: Any = order_book("compiled")
    NOT_BUILT = ""
except InvalidSetting as error:
    COMPILED, NOT_BUILT = None, str(error).partition(";")[0]

needs_compiled = pytest.mark.skipif(COMPILED is None, reason=NOT_BUILT)
CORES = ["python", pytest.param("compiled", marks=needs_compiled)]
