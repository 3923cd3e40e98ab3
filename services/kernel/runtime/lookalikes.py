"""Letters of other scripts that look like Latin ones, folded to these: `раssword` of Cyrillic letters is a password."""

import unicodedata

# The letter that each of the following looks like: a choice of Unicode's confusables (UTS #39), upper and lower case.
_LOOKS = {
    "a": "аαɑᴀ", "A": "АΑ", "b": "ьƅʙ", "B": "ВΒвβ", "c": "сϲᴄ", "C": "СϹ", "d": "ԁɗᴅ", "D": "Ꭰ",
    "e": "еεҽєᴇ", "E": "ЕΕ", "f": "ƒꜰ", "F": "Ϝ", "g": "ɡցɢ", "G": "Ԍ", "h": "һհнʜ", "H": "НΗ",
    "i": "іιıɩɪ", "I": "ІΙӀ", "j": "јϳᴊ", "J": "ЈͿ", "k": "кκᴋ", "K": "КΚ", "l": "ӏʟ", "L": "Ꮮ",
    "m": "мᴍ", "M": "МΜϺ", "n": "пηոɴ", "N": "Ν", "o": "оοօσᴏ", "O": "ОΟՕ", "p": "рρᴘ", "P": "РΡ",
    "q": "ԛզ", "Q": "Ԛ", "r": "гʀ", "R": "Ꭱ", "s": "ѕꜱ", "S": "ЅՏ", "t": "тτᴛ", "T": "ТΤ",
    "u": "υսᴜ", "U": "Ս", "v": "νѵᴠ", "V": "Ѵ", "w": "ԝωᴡ", "W": "Ԝ", "x": "хχ", "X": "ХΧ",
    "y": "уγʏ", "Y": "ҮΥ", "z": "ᴢ", "Z": "Ζ",
    '"': "“”„‟", "'": "‘’‚‛", "=": "꞊", ":": "꞉ː∶",
}  # fmt: skip
_LETTERS = str.maketrans({other: letter for letter, others in _LOOKS.items() for other in others})


def fold(text: str) -> str:
    """The text in Latin letters as it looks: compatible forms, marks and invisible signs fold, and look-alikes do.

    Chinese stays as it is, and so does case.
    """
    if text.isascii():
        return text
    plain = unicodedata.normalize("NFKD", text).translate(_LETTERS)
    return "".join(sign for sign in plain if unicodedata.category(sign) not in ("Mn", "Cf"))
