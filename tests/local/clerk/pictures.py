"""Portraits of made-up users, as SVG. The same name gives the same portrait."""

from hashlib import sha256

_BACKGROUNDS = ("#f4d6cc", "#d7e8d0", "#cfe3f2", "#e6d9f2", "#f6e7b8", "#d3ece8")
_SKINS = ("#f6d7bd", "#e8b998", "#c98d63", "#9c6644", "#6f4630")
_HAIRS = ("#2c1b12", "#5a3a22", "#a5682a", "#d9b26a", "#8a8a8a", "#1d2a44")
_SHIRTS = ("#33658a", "#b5525c", "#4f7942", "#7d5ba6", "#d98324", "#2f4858")
_HAIRCUTS = (
    '<path d="M18 30a14 14 0 0 1 28 0l-4-5q-10 3-20 0z"/>',  # short
    '<path d="M16 44V28a16 16 0 0 1 32 0v16h-6V28H22v16z"/>',  # long
    '<circle cx="32" cy="12" r="6"/><path d="M18 29a14 14 0 0 1 28 0q-14-9-28 0z"/>',  # a bun
    "",  # none
)


def picture(name: str) -> bytes:
    """An SVG document."""
    dice = iter(sha256(name.encode()).digest())

    def one[T](of: tuple[T, ...]) -> T:
        return of[next(dice) % len(of)]

    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="64" height="64">'
        f'<rect width="64" height="64" fill="{one(_BACKGROUNDS)}"/>'
        f'<path d="M10 64q2-18 22-18t22 18z" fill="{one(_SHIRTS)}"/>'
        f'<g fill="{one(_SKINS)}"><rect x="27" y="38" width="10" height="12" rx="5"/>'
        '<circle cx="32" cy="29" r="13"/></g>'
        f'<g fill="{one(_HAIRS)}">{one(_HAIRCUTS)}</g>'
        '<g fill="#222"><circle cx="27" cy="29" r="1.6"/><circle cx="37" cy="29" r="1.6"/></g>'
        f'<path d="M27 35q5 {3 + next(dice) % 4} 10 0" fill="none" stroke="#222" stroke-linecap="round"/>'
        "</svg>"
    ).encode()
