def _residual_lab_grade(seed, body, names, careful=0.0):
    """Run a grade cell's code and return the lines it shows. Sent to the kernel as text, with the code and the seed.

    It runs beside the learner's code, which may replace any part of it: it decides nothing. Whoever changes it must
    still come up with the values that the solution gives for these inputs.

    Args:
        names: what the learner's cells defined. The code runs in a copy, so that its names never replace the learner's,
            and without those of builtins: ``sum = 0`` in an answer is the learner's own affair.
        careful: in the trusted kernel, how far (relative to the largest number shown with it) a number must lie from
            where its rounding changes; a seed that comes closer raises `ArithmeticError`, and another is drawn.
    """
    import builtins
    import math
    import os
    import random
    import sys

    from IPython.utils.capture import capture_output

    draw, lines, margin = random.Random(seed), [], careful

    def tensor(*shape, low=-1.0, high=1.0):
        """A float64 tensor of uniform numbers, whatever was done to torch's own generator and default type."""
        import torch

        flat = [draw.uniform(low, high) for _ in range(math.prod(shape))]
        return torch.tensor(flat, dtype=torch.float64).reshape(shape)

    def whole(*shape, low=-9, high=9):
        """A float64 tensor of whole numbers: products of a few are exact in float32 too."""
        import torch

        flat = [float(draw.randint(low, high)) for _ in range(math.prod(shape))]
        return torch.tensor(flat, dtype=torch.float64).reshape(shape)

    def show(*values, digits=3, floor=1e-9, tolerance=0.0):
        """A line for each value: numbers rounded to ``digits`` of the largest beside them; ``digits=None`` for whole numbers.

        A list of numbers, an array and a tensor are spelled the same way; what is all below ``floor`` is 0. ``tolerance``
        asks for a wider margin than usual.
        """
        nonlocal margin
        margin = max(careful, tolerance if careful else 0.0)
        for value in values:
            lines.extend(spell(value, digits, floor))

    def spell(value, digits, floor):
        if isinstance(value, (str, bool)) or value is None:
            return [repr(value)]
        if hasattr(value, "detach"):
            value = value.detach()
        if hasattr(value, "tolist"):
            value = value.tolist()
        if isinstance(value, (list, tuple)):
            value = [item if isinstance(item, (list, tuple, str)) or item is None or getattr(item, "ndim", 0) else plain(item) for item in value]
            if not value or any(not isinstance(item, (int, float)) for item in value):
                return [f"({len(value)}"] + [line for item in value for line in spell(item, digits, floor)] + [")"]
            return [str(len(value)) + ": " + rounded(value, digits, floor)]
        value = plain(value)
        return [repr(value) if isinstance(value, bool) else rounded([value], digits, floor)]

    def plain(item):
        item = item.item() if hasattr(item, "item") else item
        return item if isinstance(item, bool) else float(item)

    def rounded(numbers, digits, floor):
        if digits is None:
            return " ".join(str(int(n)) if float(n).is_integer() else repr(float(n)) for n in numbers)
        largest = max((abs(n) for n in numbers if math.isfinite(n)), default=0.0)
        guard(largest, floor, largest)
        if largest < floor:
            return " ".join("0" if math.isfinite(n) else repr(n) for n in numbers)
        exponent = math.floor(math.log10(largest / 1.37))  # whole powers of ten are common: the step lies elsewhere
        guard(largest, 1.37 * 10.0**exponent, largest)
        guard(largest, 1.37 * 10.0 ** (exponent + 1), largest)
        unit = 10.0 ** (exponent - digits + 1)
        for n in numbers:
            if math.isfinite(n):
                guard(n, (math.floor(n / unit) + 0.5) * unit, largest)
        return " ".join(str(round(n / unit)) if math.isfinite(n) else repr(n) for n in numbers) + f" e{exponent - digits + 1}"

    def guard(number, edge, largest):
        if abs(number - edge) < margin * largest:
            raise ArithmeticError("rounding without a margin")

    def only_numbers(value):
        """A plain float64 tensor of a tensor's, an array's or nested lists' numbers: what else an object can do stays behind."""
        import torch

        return torch.tensor(listed(value), dtype=torch.float64)

    def listed(value):
        value = value.tolist() if hasattr(value, "tolist") else value
        return [listed(item) for item in value] if isinstance(value, (list, tuple)) else float(value)

    def raised(function, *arguments, kind=ValueError):
        """Name of the exception that a call raises (``kind`` for its subclasses too), or "-"."""
        try:
            function(*arguments)
        except NotImplementedError:
            raise
        except Exception as problem:
            return kind.__name__ if isinstance(problem, kind) else type(problem).__name__
        return "-"

    helpers = {"draw": draw, "tensor": tensor, "whole": whole, "show": show, "raised": raised, "only_numbers": only_numbers, "math": math}
    if "torch" in body:
        import torch

        helpers["torch"] = torch
    usable = {name: value for name, value in names.items() if name.startswith("_") or not hasattr(builtins, name)}
    quiet = os.open(os.devnull, os.O_WRONLY)
    kept = [(fd, os.dup(fd)) for fd in (1, 2)]
    outer = [stream for stream in (sys.stdout, sys.stderr) if hasattr(stream, "__dict__")]
    try:
        for stream in outer:  # a logging handler made before holds on to the stream itself
            stream.write = len
        with capture_output():
            for fd, _ in kept:
                os.dup2(quiet, fd)
            exec(compile(body, "<grade>", "exec"), {**usable, **helpers})
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
    finally:
        for stream in outer:
            stream.__dict__.pop("write", None)
        for fd, copy in kept:
            os.dup2(copy, fd)
            os.close(copy)
        os.close(quiet)
    return "\n".join(lines) + "\n"


# In a namespace of its own, where the learner's ``sum`` or ``max`` is not seen.
_residual_lab_grade = _residual_lab_grade.__class__(
    _residual_lab_grade.__code__, {"__builtins__": __builtins__}, None, _residual_lab_grade.__defaults__)
