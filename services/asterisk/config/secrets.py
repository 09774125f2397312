"""Secret values of configuration sections: masked for the API, replaced by tokens in the log, restored for the PBX."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from schemas.configuration import Line, Section
from schemas.secrets import MASK, is_secret
from services.asterisk.config.text import alike


class NoSecretError(Exception):
    """There is no value for a secret line."""


def mask_sections(sections: Sequence[Section]) -> list[Section]:
    """Return the sections without their secret values; an empty value is none."""
    return [_with(section, lambda line: line.value and MASK) for section in sections]


def tokenize(sections: Sequence[Section]) -> tuple[list[Section], dict[str, str]]:
    """Return the sections with a token for each secret value that is given, and the values by token."""
    values: dict[str, str] = {}

    def token(line: Line) -> str:
        if line.value in {"", MASK}:
            return line.value
        values[made := str(uuid.uuid4())] = line.value
        return made

    return [_with(section, token) for section in sections], values


def _with(section: Section, value: Callable[[Line], str]) -> Section:
    return replace(section, lines=tuple(Line(n.name, value(n)) if is_secret(n.name) else n for n in section.lines))


def tokens_of(lines: Iterable[Line]) -> list[str]:
    """Return the tokens in these lines."""
    return [line.value for line in lines if is_secret(line.name)]


def restore(wanted: Sequence[Section], present: Sequence[Section], given: Mapping[str, str]) -> list[Section]:
    """Return the wanted sections with all secret values: those given by token, and for `MASK` those of the present.

    They come from the present section that says the same otherwise, or else from one of that name that no other wanted
    section has taken. Raises NoSecretError.
    """
    left = [*zip(mask_sections(present), present, strict=True)]
    sources: dict[int, Section] = {}
    for alike_enough in (_says_the_same, _has_the_options):
        for place, section in enumerate(wanted):
            found = next((pair for pair in left if place not in sources and alike_enough(section, pair[0])), None)
            if found is not None:
                left.remove(found)
                sources[place] = found[1]
    return [_restore(section, sources.get(place), given) for place, section in enumerate(wanted)]


def _says_the_same(wanted: Section, present: Section) -> bool:
    return wanted == present


def _has_the_options(wanted: Section, present: Section) -> bool:
    options = {line.name.lower() for line in wanted.lines if line.value == MASK}
    there = {line.name.lower() for line in present.lines}
    return alike(wanted.name) == alike(present.name) and bool(options) and options <= there


def _restore(wanted: Section, present: Section | None, given: Mapping[str, str]) -> Section:
    values: dict[str, list[str]] = {}
    for line in present.lines if present else ():
        values.setdefault(line.name.lower(), []).append(line.value)

    def value(line: Line) -> str:
        if line.value not in {"", MASK}:
            if line.value not in given:
                raise NoSecretError(f"[{wanted.name}] {line.name}: the value that was given is kept no longer")
            return given[line.value]
        kept = values.get(line.name.lower())
        if line.value and not kept:
            raise NoSecretError(f"[{wanted.name}] {line.name}: there is no present value to keep; give one")
        return kept.pop(0) if line.value and kept else ""

    return _with(wanted, value)
