"""Secret values of sections: masked for the log and for clients, replaced by tokens on their way to the PBX.

The values wait in services/database/secret_store.py, for at most a minute. So the secrets of earlier versions are
stored nowhere: writing an earlier version needs new secrets, or uses the present ones.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from schemas.configuration import Line, Section
from schemas.secrets import MASK, is_secret
from services.asterisk.config.sections import name_key


class MissingSecretError(Exception):
    """There is no value for a secret line."""


def mask_sections(sections: Sequence[Section]) -> list[Section]:
    """Return the sections with their secret values masked; an empty value stays empty."""
    return [_replace_values(section, lambda line: line.value and MASK) for section in sections]


def tokenize(sections: Sequence[Section]) -> tuple[list[Section], dict[str, str]]:
    """Return the sections with a token in place of each secret value, and the values by token.

    Empty and masked values stay.
    """
    values: dict[str, str] = {}

    def token(line: Line) -> str:
        if line.value in {"", MASK}:
            return line.value
        values[new := str(uuid.uuid4())] = line.value
        return new

    return [_replace_values(section, token) for section in sections], values


def _replace_values(section: Section, value: Callable[[Line], str]) -> Section:
    return replace(section, lines=tuple(Line(n.name, value(n)) if is_secret(n.name) else n for n in section.lines))


def tokens_of(lines: Iterable[Line]) -> list[str]:
    """Return the tokens in these lines."""
    return [line.value for line in lines if is_secret(line.name)]


def restore(desired: Sequence[Section], present: Sequence[Section], values: Mapping[str, str]) -> list[Section]:
    """Return the desired sections with all secret values: ``values`` by token, and for `MASK` the present ones.

    The present value comes from the section that is equal but for secrets. Without one it comes from a section of the
    same name that no other desired section uses.

    Raises MissingSecretError.
    """
    unused = [*zip(mask_sections(present), present, strict=True)]
    sources: dict[int, Section] = {}
    for matches in (_is_equal, _has_the_options):
        for index, section in enumerate(desired):
            source = next((pair for pair in unused if index not in sources and matches(section, pair[0])), None)
            if source is not None:
                unused.remove(source)
                sources[index] = source[1]
    return [_restore(section, sources.get(index), values) for index, section in enumerate(desired)]


def _is_equal(desired: Section, present: Section) -> bool:
    return desired == present


def _has_the_options(desired: Section, present: Section) -> bool:
    options = {line.name.lower() for line in desired.lines if line.value == MASK}
    available = {line.name.lower() for line in present.lines}
    return name_key(desired.name) == name_key(present.name) and bool(options) and options <= available


def _restore(desired: Section, present: Section | None, values: Mapping[str, str]) -> Section:
    present_values: dict[str, list[str]] = {}
    for line in present.lines if present else ():
        present_values.setdefault(line.name.lower(), []).append(line.value)

    def value(line: Line) -> str:
        if line.value not in {"", MASK}:
            if line.value not in values:
                raise MissingSecretError(f"[{desired.name}] {line.name}: the value has expired; send it again")
            return values[line.value]
        candidates = present_values.get(line.name.lower())
        if line.value and not candidates:
            raise MissingSecretError(f"[{desired.name}] {line.name}: there is no present value to keep; send one")
        return candidates.pop(0) if line.value and candidates else ""

    return _replace_values(desired, value)
