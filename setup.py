"""The compiled order book, beside what pyproject.toml says. Where it cannot be built, the one in Python runs."""

from glob import glob

from setuptools import Extension, setup

FOLDER = "workers/engine/compiled/"

setup(
    ext_modules=[
        Extension(
            "workers.engine.compiled.book", [FOLDER + "book.pyx"], depends=glob(FOLDER + "*.p[x-y]*"), optional=True
        )
    ]
)
