"""What somebody else wrote, shown in a terminal."""


def plain(text: str) -> str:
    """The text, with what is not to be seen spelt out: it could clear the screen, or turn a line around."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode() for one in text
    )
