"""What can be told of a script without running any of it (adapters layer).

Used for CheckProcess. It speaks up only where it is sure: a script may bind its functions in ways
that show only when it runs, and is then left alone.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from pathlib import Path

from ska_oso_activity.domain.arguments import RESERVED_KWARGS, ProcedureInput
from ska_oso_activity.domain.errors import Reason

Finding = dict[str, str]
"""`{"code", "message"}`."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_DYNAMIC = frozenset({"globals", "vars", "locals", "setattr", "exec", "eval"})
"""Built-ins with which a script can bind any name."""


def check_script(
    source: bytes | str,
    filename: str,
    init_args: ProcedureInput,
    main_args: ProcedureInput | None,
    subarray_id: int | None,
) -> list[Finding]:
    """Everything found wrong with a script and the arguments it will get; empty if nothing is.

    Args:
        source: the script; bytes may say their own encoding.
        filename: only for Python's own messages; it is not read.
        main_args: for the function that is started, main or else run; None: not known yet.
        subarray_id: the lane, given to a parameter of that name that is left without a value.
    """
    try:
        # Both, because some errors (a `return` outside a function) show only to the compiler.
        tree = ast.parse(source, filename)
        compile(source, filename, "exec", dont_inherit=True)
    except SyntaxError as error:
        line = f"line {error.lineno}: " if error.lineno else ""
        return [_finding(Reason.SCRIPT_LOAD_ERROR, f"{line}{error.msg}")]
    except (RecursionError, MemoryError):
        return [_finding(Reason.SCRIPT_LOAD_ERROR, "the script is nested too deeply to compile")]
    except (ValueError, OverflowError) as error:
        return [_finding(Reason.SCRIPT_LOAD_ERROR, f"{type(error).__name__}: {error!s:.200}")]
    names = _Names(tree)
    findings = _check_function(names, "init", init_args, subarray_id, ())
    for name in ("main", "run"):
        if names.may_have(name):
            if main_args is None:
                return findings
            return findings + _check_function(names, name, main_args, subarray_id, RESERVED_KWARGS)
    nothing = "the script has neither main nor run: there is nothing to start"
    return [*findings, _finding(Reason.SCRIPT_LOAD_ERROR, nothing)]


class _Names:
    """The names that a module binds: to a plain function, to something, or perhaps."""

    def __init__(self, tree: ast.Module) -> None:
        self._functions: dict[str, _Function] = {}
        self._unclear: set[str] = set()
        self._anything = False
        for statement in tree.body:
            self._bind(statement)
        for node in ast.walk(tree):
            if isinstance(node, ast.Global):
                self._unclear.update(node.names)
            elif isinstance(node, ast.Name) and node.id in _DYNAMIC:
                self._anything = True

    def may_have(self, name: str) -> bool:
        """Whether the name is bound, or may be."""
        return self._anything or name in self._functions or name in self._unclear

    def function(self, name: str) -> _Function | None:
        """The function that the name certainly is bound to."""
        if self._anything or name in self._unclear:
            return None
        return self._functions.get(name)

    def _bind(self, statement: ast.stmt) -> None:
        """Note what a statement of the module's top level binds; the last one wins."""
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if not statement.decorator_list:
                self._functions[statement.name] = statement
                self._unclear.discard(statement.name)
                return
            self._unclear.add(statement.name)
        elif isinstance(statement, ast.ClassDef):
            self._unclear.add(statement.name)
        else:
            self._unclear.update(self._bound_within(statement))

    def _bound_within(self, statement: ast.stmt) -> Iterable[str]:
        """Names that anything within a statement binds, now or under some condition."""
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                yield node.id
            elif isinstance(node, ast.alias):
                if node.name == "*":
                    self._anything = True
                yield (node.asname or node.name).split(".")[0]
            elif isinstance(name := getattr(node, "name", None), str):
                yield name  # of a function, a class, an exception or a pattern


def _check_function(
    names: _Names,
    name: str,
    given: ProcedureInput,
    subarray_id: int | None,
    added: Iterable[str],
) -> list[Finding]:
    """Whether a function can be called with its arguments and those that the platform adds."""
    function = names.function(name)
    if function is None:
        return []
    if isinstance(function, ast.AsyncFunctionDef) or _yields(function):
        text = (
            f"{name} is asynchronous or a generator, so calling it would run nothing: "
            "make it an ordinary function (asyncio.run in it is fine)"
        )
        return [_finding(Reason.SCRIPT_LOAD_ERROR, text)]
    signature = _signature(function.args)
    kwargs = dict(given.kwargs)
    for keyword in added:
        if _takes(signature, keyword, given):
            kwargs[keyword] = ""
    if subarray_id is not None and _left_without(signature, given, "subarray_id"):
        kwargs["subarray_id"] = subarray_id
    try:
        signature.bind(*given.args, **kwargs)
    except TypeError as error:
        return [_finding(Reason.SCRIPT_ERROR, f"{name}() {error}")]
    return []


def _signature(arguments: ast.arguments) -> inspect.Signature:
    """The signature of a `def`; a default's value does not matter here, only that there is one."""
    kinds = inspect.Parameter
    positional = [
        *((argument.arg, kinds.POSITIONAL_ONLY) for argument in arguments.posonlyargs),
        *((argument.arg, kinds.POSITIONAL_OR_KEYWORD) for argument in arguments.args),
    ]
    required = len(positional) - len(arguments.defaults)
    parameters = [
        inspect.Parameter(name, kind, default=kinds.empty if number < required else None)
        for number, (name, kind) in enumerate(positional)
    ]
    if arguments.vararg:
        parameters.append(inspect.Parameter(arguments.vararg.arg, kinds.VAR_POSITIONAL))
    parameters += [
        inspect.Parameter(
            argument.arg, kinds.KEYWORD_ONLY, default=kinds.empty if default is None else None
        )
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    if arguments.kwarg:
        parameters.append(inspect.Parameter(arguments.kwarg.arg, kinds.VAR_KEYWORD))
    return inspect.Signature(parameters)


def _yields(function: ast.FunctionDef) -> bool:
    """Whether a function is a generator; functions within it are not looked into."""
    waiting: list[ast.AST] = [*function.body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Yield, ast.YieldFrom)):
            return True
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            waiting.extend(ast.iter_child_nodes(node))
    return False


def _takes(signature: inspect.Signature, keyword: str, given: ProcedureInput) -> bool:
    """Whether a keyword argument can be added: not if a positional one has its place."""
    parameter = signature.parameters.get(keyword)
    if parameter is None:
        kinds = {parameter.kind for parameter in signature.parameters.values()}
        return inspect.Parameter.VAR_KEYWORD in kinds
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
        return True
    place = list(signature.parameters).index(keyword)
    return parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and place >= len(given.args)


def _left_without(signature: inspect.Signature, given: ProcedureInput, name: str) -> bool:
    """Whether the function has a parameter of that name to which the arguments give no value."""
    if name not in signature.parameters:
        return False
    try:
        return name not in signature.bind_partial(*given.args, **given.kwargs).arguments
    except TypeError:
        return name not in given.kwargs


def _finding(code: Reason, message: str) -> Finding:
    return {"code": code.value, "message": message}


def inspect_script(
    path: Path,
    *,
    init_args: ProcedureInput,
    main_args: ProcedureInput | None,
    subarray_id: int | None,
) -> list[Finding]:
    """Check the script in a file (port `ScriptInspector`)."""
    try:
        source = path.read_bytes()
    except OSError as error:
        return [_finding(Reason.SCRIPT_NOT_FOUND, f"the script cannot be read: {error.strerror}")]
    return check_script(source, path.name, init_args, main_args, subarray_id)
