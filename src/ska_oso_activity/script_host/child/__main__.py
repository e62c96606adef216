"""Where a script's process begins, and the fork server. Run by path, with any interpreter.

`__main__.py CONTROL PACKETS HOST` runs one script; `__main__.py --fork-server SOCKET HOST` makes
processes that each run one. Both go the same way from there on.
"""

import sys


def _find_our_package() -> None:
    """Make our package importable, and nothing else of where it lies.

    The interpreter may be that of a script's own environment, which has other packages than ours.
    """
    from importlib.util import module_from_spec, spec_from_file_location
    from pathlib import Path

    here = Path(__file__).resolve()
    if sys.path[0] == str(here.parent):
        del sys.path[0]
    root = here.parents[2]
    name = root.name
    spec = spec_from_file_location(
        name, root / "__init__.py", submodule_search_locations=[str(root)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"there is no package in {root}")
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    _find_our_package()
    from ska_oso_activity.script_host.child.run import main

    if sys.argv[1] == "--fork-server":
        from ska_oso_activity.script_host.child.fork_server import serve

        main(*serve(*map(int, sys.argv[2:])))
    else:
        control, packets, host = map(int, sys.argv[1:])
        main(control, packets, host)
