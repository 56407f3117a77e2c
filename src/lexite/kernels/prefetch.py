"""Asking for memory ahead of time, which compiled loops over many short lists gain from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

# Its own types do not tell that the compiler gives the first argument.
intrinsic: Callable[[Callable[..., Any]], Callable[..., Any]] = extending.intrinsic
get_or_insert_function: Callable[..., Any] = cgutils.get_or_insert_function


@intrinsic
def prefetch(context: Any, array: Any, place: Any) -> Any:  # pragma: no cover - compiled
    """Starts to load the cache line that holds ``array[place]``; ``place`` is an int64. It changes nothing, also outside."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        form = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = get_or_insert_function(builder.module, form, "llvm.prefetch.p0")
        address = builder.bitcast(builder.gep(data, [arguments[1]]), pointer)
        builder.call(function, [address, number(0), number(2), number(1)])  # to read, into the second cache, data
        return context.get_dummy_value()

    return types.void(array, types.int64), generate
