"""Whether RE2, the engine of Envoy, would take a regular expression. Pure.

A pattern that Envoy refuses costs a whole resource, so it has to be found in the object. There is no RE2 here: the
check is Python's compiler, with what only one of the two knows taken out.
"""

from __future__ import annotations

import re

MAX_REPEAT = 1000  # RE2's bound
_ATOM = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]", re.DOTALL)
_REFERENCE = re.compile(r"(?<!\\)(?:\\\\)*\\[1-9]")
_NOT_RE2 = re.compile(r"\(\?(?:[=!>#(]|<[=!]|P[=>])|[*+?}]\+")  # look-around, conditions, comments, possessive
_REPEAT = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_FLAGS = re.compile(r"\(\?[imsU]*(?:-[imsU]+)?([:)])")
_ONLY_RE2 = ((re.compile(r"\\[pP](?:\{\^?\w+\}|[A-Z])|\\C"), "\\\\w"), (re.compile(r"\\z"), "\\\\Z"))


def regex_problem(pattern: str) -> str:
    """Why RE2 would refuse a pattern; "" if nothing speaks against it."""
    shape = _ATOM.sub("a", pattern)
    found = _NOT_RE2.search(shape) or _REFERENCE.search(pattern)
    if found:
        return f"{found[0]!r} is not supported"
    counts = (count for pair in _REPEAT.findall(shape) for count in pair if count)
    if any(len(count) > 4 or int(count) > MAX_REPEAT for count in counts):
        return f"a repetition is above {MAX_REPEAT}"
    try:
        python_pattern(pattern)
    except (re.error, OverflowError, RecursionError) as wrong:
        return str(wrong)
    return ""


def python_pattern(pattern: str) -> re.Pattern[str]:
    """The nearest that Python has to a pattern of RE2: flags and classes that only RE2 knows are taken out."""
    for known, stand_in in _ONLY_RE2:
        pattern = known.sub(stand_in, pattern)
    pattern = _FLAGS.sub(lambda flags: "(?:" if flags[1] == ":" else "", pattern).replace("(?<", "(?P<")
    return re.compile(pattern)
