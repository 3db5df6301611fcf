"""Lists of words as Containerfiles write them: a JSON list (the exec form), or words between blanks."""

from __future__ import annotations

from rootless.jsontext import loads


def words(text: str) -> list[str]:
    """Words of a Containerfile line: blanks part them, quotes hold them together, a backslash takes the next character
    as it is. Raises ValueError for a quote that is not closed."""
    found: list[str] = []
    word: list[str] | None = None
    quote = ""
    characters = iter(text)
    for character in characters:
        if character == "\\" and quote != "'":
            word = [*(word or []), next(characters, "\\")]
        elif quote:
            if character == quote:
                quote = ""
            else:
                word = [*(word or []), character]
        elif character in "\"'":
            quote = character
            word = word or []
        elif character.isspace():
            if word is not None:
                found.append("".join(word))
                word = None
        else:
            word = [*(word or []), character]
    if quote:
        raise ValueError(f"the quote {quote} is not closed")
    if word is not None:
        found.append("".join(word))
    return found


def json_list(value: str) -> list[str] | None:
    """The exec form, or None where it is the shell form."""
    if not value.startswith("["):
        return None
    try:
        parsed = loads(value)
    except ValueError:
        return None
    return parsed if isinstance(parsed, list) and all(isinstance(item, str) for item in parsed) else None
