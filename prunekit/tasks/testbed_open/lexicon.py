"""The words of open instructions; those of passages and filler are the first testbed's."""

#: Every instruction word with its synonyms; the first of each is the canonical one. A plural asks for a word of each
#: person, a singular for that of one person.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "list": ("list", "copy"),
    "reverse": ("reverse", "opposite"),
    "double": ("double", "repeat"),
    "first": ("first", "initial"),
    "last": ("last", "final"),
    "name": ("name", "person"),
    "names": ("names", "people"),
    "colour": ("colour", "shade"),
    "colours": ("colours", "shades"),
    "animal": ("animal", "creature"),
    "animals": ("animals", "creatures"),
    "place": ("place", "city"),
    "places": ("places", "cities"),
}
