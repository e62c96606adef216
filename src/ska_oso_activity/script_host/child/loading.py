"""Loads a script as a module (script's process)."""

from __future__ import annotations

import os
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType


class ScriptLoader(SourceFileLoader):
    """Compiles the file that is there now; no byte code is read or written beside it."""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - what an import asks for
        return self.source_to_code(self.get_data(self.path), self.path)


def load(path: str) -> ModuleType:
    """Run the script's file as a module, in the place that a script's author expects to be in."""
    folder = str(Path(path).parent)
    os.chdir(folder)
    sys.path.insert(0, folder)
    sys.argv = [path]
    name = module_name(path)
    spec = spec_from_file_location(name, path, loader=ScriptLoader(name, path))
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded as a Python file")
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def module_name(path: str) -> str:
    """The name of the file, unless that would hide a module of another one's."""
    stem = Path(path).stem
    if stem in sys.modules or stem in sys.stdlib_module_names:
        return f"script_{stem}"
    return stem
