"""Single steps of compiled loops that numba does not know: patterns of 16 and 32 bits to numbers and back.

They are written in the compiler's own terms, in 32 and 16 bits: numba would widen integers to 64, which halves the vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending, types

_INT8, _INT16, _INT32, _FLOAT = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.FloatType()
# Its own types do not tell that the compiler gives the first argument.
intrinsic: Callable[[Callable[..., Any]], Callable[..., Any]] = extending.intrinsic


@intrinsic
def widen(context: Any, value: Any) -> Any:  # pragma: no cover - compiled
    """The fp32 number of a bf16 pattern (int16); fp32 numbers pass through, so that a loop can be written once for both."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(builder.shl(builder.zext(arguments[0], _INT32), _INT32(16)), _FLOAT)

    def same(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return arguments[0]

    return (types.float32(types.float32), same) if value == types.float32 else (types.float32(types.int16), generate)


@intrinsic
def narrow(context: Any, value: Any) -> Any:  # pragma: no cover - compiled
    """The bf16 pattern of a fp32 number, to nearest, ties to even."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.bitcast(arguments[0], _INT32)
        odd = builder.and_(builder.lshr(bits, _INT32(16)), _INT32(1))
        rounded = builder.add(builder.add(bits, _INT32(0x7FFF)), odd)
        return builder.trunc(builder.lshr(rounded, _INT32(16)), _INT16)

    return types.int16(types.float32), generate


@intrinsic
def number_of(context: Any, value: Any) -> Any:  # pragma: no cover - compiled
    """The fp32 number of a pattern of 32 bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], _FLOAT)

    return types.float32(types.uint32), generate


@intrinsic
def in_order(context: Any, value: Any) -> Any:  # pragma: no cover - compiled
    """A bf16 pattern as an integer that is ordered like the number; its own inverse."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        negative = builder.ashr(arguments[0], _INT16(15))
        return builder.xor(arguments[0], builder.lshr(negative, _INT16(1)))

    return types.int16(types.int16), generate


@intrinsic
def larger(context: Any, a: Any, b: Any) -> Any:  # pragma: no cover - compiled
    """The larger of two integers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(builder.icmp_signed(">", arguments[0], arguments[1]), arguments[0], arguments[1])

    return types.int16(types.int16, types.int16), generate


@intrinsic
def where(context: Any, allowed: Any, value: Any) -> Any:  # pragma: no cover - compiled
    """The value where it is allowed, else the lowest integer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(builder.icmp_unsigned("!=", arguments[0], _INT8(0)), arguments[1], _INT16(-32768))

    return types.int16(types.uint8, types.int16), generate


@intrinsic
def nearest_below_zero(context: Any, value: Any) -> Any:  # pragma: no cover - compiled
    """The whole number nearest to a number that is not above zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.sitofp(builder.fptosi(builder.fsub(arguments[0], _FLOAT(0.5)), _INT32), _FLOAT)

    return types.float32(types.float32), generate


@intrinsic
def two_to(context: Any, value: Any) -> Any:  # pragma: no cover - compiled
    """2 to a whole power from -126 to 127."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        exponent = builder.add(builder.fptosi(arguments[0], _INT32), _INT32(127))
        return builder.bitcast(builder.shl(exponent, _INT32(23)), _FLOAT)

    return types.float32(types.float32), generate
