"""Passwords that guessers try first: common words, keyboard walks and repetitions, however they are dressed up.

No list of leaked passwords is kept here. What such lists have at their top are a few words with digits behind, capitals
and signs instead of letters; so these are taken away before looking, and a few hundred words stand for many thousands.
"""

import re

MIN_WORD = 4
# Words that people take for passwords, in English and in pinyin; most common names, teams, animals and things.
_TEXT = """
    password passwort passwd passw pass passcode passphrase admin administrator root superuser user username guest test
    testing tester default login welcome letmein access secret private master changeme change temp temporary unknown
    computer internet server system windows linux oracle cisco google apple samsung android iphone facebook twitter
    qwerty qwertz azerty dvorak asdf zxcv
    iloveyou ilove love loveme lovely lover forever baby babygirl angel princess prince queen king sweetie honey
    sunshine moonlight starlight rainbow flower butterfly chocolate cookie cheese banana orange cherry pepper
    football baseball basketball soccer hockey tennis golf golfer yankees lakers eagles cowboys steelers liverpool
    chelsea arsenal barcelona juventus ferrari mustang porsche corvette mercedes harley yamaha suzuki toyota
    dragon monkey tiger lion bear wolf eagle falcon shark dolphin snoopy puppy kitty kitten horse
    shadow ninja samurai pirate hunter killer warrior soldier hacker phantom ghost wizard merlin gandalf
    superman batman spiderman ironman pokemon pikachu naruto starwars startrek matrix trustno trustnoone
    michael michelle jennifer jessica jordan joshua matthew andrew daniel thomas robert william charlie george
    ashley amanda nicole hannah sophie maggie buster ginger bailey jackson anthony justin taylor
    summer winter spring autumn monday friday january february march april june july august september october november
    december
    freedom liberty america london paris berlin newyork boston dallas texas chicago china beijing shanghai shenzhen
    guangzhou hongkong taiwan singapore tokyo
    money dollar bitcoin trader trading trade market stock stocks futures broker invest investor finance bank redfire
    woaini aini woaiwojia wodemima mima mimashi nihao zhongguo zhongwen xiaoming wangwei zhangwei laopo laogong baobao
    taobao alipay weixin wechat baidu tencent
    blink slipknot metallica nirvana whatever nothing blahblah hello helloworld goodbye thankyou please fuckyou
"""
_WORDS = frozenset(_TEXT.split())
_WALKS = (
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qazwsxedcrfvtgbyhnujm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "!qaz@wsx#edc$rfv",
    "qwertyuiopasdfghjklzxcvbnm",
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "147258369",
    "789456123",
    "!@#$%^&*()",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "zaq12wsxcde34rfv",
    "a1b2c3d4e5f6g7h8",
    "5201314520",
)
_SUBSTITUTES = str.maketrans("@4831!0$57€", "aabeiiosste")
_EDGES = re.compile(r"^[\W\d_]+|[\W\d_]+$")
_SIGNS = re.compile(r"[\W_]+")


def is_common(password: str, *own: str) -> bool:
    """Test for a password that guessers try first; `own` are words of its user, such as the name and the address."""
    text = password.casefold()
    words = _WORDS | {word for name in own for word in _words_of(name)}
    return _is_repetition(text) or _is_walk(text) or _is_dressed_word(text, words)


def _words_of(name: str) -> set[str]:
    parts = {name.casefold(), *re.split(r"[\W_]+", name.casefold())}
    return {part for part in parts if len(part) >= MIN_WORD}


def _is_repetition(text: str) -> bool:
    """A part of a third or less, again and again: aaaaaaaa, abcabcabc; or two digits alone: 19191991."""
    if len(set(text)) <= 2:
        return True
    return any(text == (text[:size] * len(text))[: len(text)] for size in range(1, len(text) // 2 + 1))


def _is_walk(text: str) -> bool:
    """Keys side by side, forwards or backwards, alone or one walk after the other: qwerasdf, 87654321, 1qaz2wsx."""
    rest = text
    while rest:
        longest = next((size for size in range(len(rest), 2, -1) if _walks(rest[:size])), 0)
        if longest < min(len(rest), 4) and len(rest) == len(text):
            return False
        if not longest:
            # What is left behind a walk is a digit or two, or a sign.
            return len(rest) <= 3
        rest = rest[longest:]
    return True


def _walks(text: str) -> bool:
    return any(text in walk or text[::-1] in walk for walk in _WALKS)


def _is_dressed_word(text: str, words: frozenset[str]) -> bool:
    """One or two words, with digits and signs before and behind, and signs in the place of letters: P@ssw0rd!2024."""
    bare = _EDGES.sub("", text)
    for form in {bare, bare.translate(_SUBSTITUTES), _EDGES.sub("", text.translate(_SUBSTITUTES))}:
        plain = _SIGNS.sub("", form)
        plain = re.sub(r"\d+", "", plain)
        if len(plain) < MIN_WORD:
            # Digits and signs around next to nothing: a1234567, 20240101.
            if sum(character.isdecimal() for character in text) >= len(text) - 3:
                return True
            continue
        if plain in words or any(plain[:at] in words and plain[at:] in words for at in range(2, len(plain) - 1)):
            return True
    return False
