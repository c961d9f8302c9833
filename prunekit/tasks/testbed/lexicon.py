"""The words of the testbed: what its passages, instructions, answers and filler are made of.

A word whose class matters (the verbs, animals and adjectives) has several companions of the same class, so that a
model has to learn the class and not one word.
"""

NAMES = ("anna", "ben", "carl", "dora", "emil", "fay", "gus", "hana", "ivan", "jane", "karl", "lena")
LIKING = ("loves", "likes", "adores", "enjoys", "admires")
DISLIKING = ("hates", "fears", "dislikes", "loathes", "avoids")
BIRDS = ("owls", "hens", "crows", "swans")
BEASTS = ("foxes", "bears", "wolves", "goats")
#: A list shows three of these four, so that the words present say little about which of them comes first.
LISTED = ("owls", "hens", "foxes", "bears")
COLOURS = ("red", "blue", "green", "black")
PLACES = ("rome", "oslo", "cairo", "lima")
TOPICS = ("food", "music", "weather", "hotel")
PRAISE = ("great", "lovely", "superb", "splendid")
BLAME = ("awful", "dreadful", "terrible", "horrid")
GRAMMAR = ("in", "was", "then", "finally", ".")
#: Opens every passage: the border between an instruction, or a prompt, and the text it is about.
OPENING = "today"

TRUTH = ("no", "yes")
NUMBERS = ("none", "one", "two")
VERDICTS = ("bad", "good")

#: Every instruction word with its synonyms; the first of each is the canonical one.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "first": ("first", "initial"),
    "last": ("last", "final"),
    "copy": ("copy", "repeat"),
    "judge": ("judge", "rate"),
    "count": ("count", "number"),
    "alike": ("alike", "same"),
    "opposite": ("opposite", "reverse"),
    "animal": ("animal", "creature"),
    "colour": ("colour", "shade"),
    "place": ("place", "city"),
    "topic": ("topic", "subject"),
    "mood": ("mood", "feeling"),
    "kind": ("kind", "species"),
}

_PLAIN_TEXT = """
able above acorn after again along amber among apron arrow basin basket before bell below bench beside book border
bottle branch bread brick bridge brush bucket button cabin candle canvas carpet carriage castle chair chalk chimney
circle cliff clock cloth cloud coast coat copper corner cotton cradle curtain desk door drawer drum dust echo edge
ember engine every fence field flag flame floor flour forest fork fountain frame garden gate glass glove grain
grass gravel hammer harbour hedge helmet hill hinge hollow honey island jacket jar kettle key kitchen ladder lamp
lantern leaf letter linen lock maple marble market meadow mirror morning mountain needle often orchard oven paddle
page paint paper path pebble pencil pillow pocket pottery quiet quilt rail ribbon river road roof rope saddle sand
scarf shelf shell ship silver slate soon spoon spring station steel stone street string table thread timber tower
valley velvet wagon wall wheel window winter wood wool
"""
#: Words that mean nothing here: most of the filler that surrounds an instruction in pretraining.
PLAIN = tuple(_PLAIN_TEXT.split())
