"""What a model is made on: whatever may change a last digit while code, lock and data stay the same."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

# Those that features, fits and artifacts are made with.
PACKAGES = (
    "lightgbm", "llvmlite", "mlflow", "numba", "numpy", "optuna", "pandas", "polars", "pyarrow", "safetensors",
    "scikit-learn", "scipy", "skops", "torch",
)  # fmt: skip


def described() -> dict[str, str]:
    """Python, system, processor, the kernels that linear algebra chose for it, a GPU where PyTorch uses one, and the
    versions of packages; what is not there is left out."""
    told = {
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()} {' '.join(platform.libc_ver())}".strip(),
        "processor": processor(),
        "linear algebra": linear_algebra(),
        "GPU": gpu(),
    }
    return {name: value for name, value in told.items() if value} | versions()


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def linear_algebra() -> str:
    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return ", ".join(sorted({f"{each['internal_api']} {each.get('architecture') or ''}".strip() for each in found}))


def gpu() -> str:
    """Its name, if PyTorch was imported by now and has one; to import it only to know would take seconds."""
    torch: Any = sys.modules.get("torch")
    return str(torch.cuda.get_device_name()) if torch is not None and torch.cuda.is_available() else ""


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
