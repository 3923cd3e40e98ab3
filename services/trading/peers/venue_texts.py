"""Texts of venues as both databases take them: without the character NUL, and ids no longer than their columns."""

from hashlib import blake2b

# A correction's trade has the id of the one it corrects and a number behind it, and the column has 128 characters.
MOST_OF_TRADE_ID, MOST_OF_SYMBOL, MOST_OF_CURRENCY = 120, 40, 8
_DIGEST = 32


def clean(text: str) -> str:
    """The text without what PostgreSQL does not take."""
    return text if "\0" not in text else text.replace("\0", "")


def fitted(text: str, most: int) -> str:
    """An id of at most so many characters: the same for the same, and another for another, however long they are."""
    text = clean(text)
    if len(text) <= most:
        return text
    digest = blake2b(text.encode(), digest_size=_DIGEST // 2).hexdigest()
    return f"{text[: most - _DIGEST - 1]}~{digest}" if most > _DIGEST else digest[:most]
