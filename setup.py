"""What pyproject.toml cannot say: the native module, and the wheel's tag. Everything else stands there."""

import sysconfig

from setuptools import setup

LIMITED_API = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    cffi_modules=["native/build.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED_API else {},
)
