"""The lexicon of the Tiny TL;DR world: every phrase that a post or a summary can state a fact with.

A value of a slot is named by its short form, which is how a summary states it. Posts state problems, causes and
questions in one of two long forms, so that summarising is paraphrase and not only selection. Lengths are chosen so
that the ideal summary of every post has 17 words: with a feeling added it exceeds the free 18.
"""

from typing import Final

PRONOUNS: Final[dict[str, str]] = {
    "boyfriend": "he",
    "girlfriend": "she",
    "brother": "he",
    "sister": "she",
    "mom": "she",
    "dad": "he",
    "roommate": "she",
    "neighbor": "he",
    "boss": "she",
    "coworker": "he",
    "cousin": "she",
    "uncle": "he",
}

PROBLEMS: Final[dict[str, tuple[str, str]]] = {
    "broke my new phone": ("dropped my new phone down the stairs", "cracked the screen of my phone"),
    "forgot my birthday party": ("never came to my birthday party", "made other plans on my birthday"),
    "took my car again": ("drove off in my car without asking", "borrowed the car i need for work"),
    "ate all my food": ("went ahead and ate all my food", "ate the whole dinner i cooked"),
    "read my private messages": ("opened my private messages at dinner", "sat there and read my chat"),
    "refused to pay rent": ("did not pay a cent of rent", "told me the rent is my problem"),
    "lied about a trip": ("told me a lie about some trip", "went on a trip in secret"),
    "asked me to leave": ("told me to pack and leave", "said i must leave by friday"),
    "played music all night": ("turned the music up until sunrise", "played the drums all night long"),
    "lost my house keys": ("left my house keys on some bus", "dropped my keys in the lake"),
    "told everyone my secret": ("shared my secret with the whole class", "could not keep my secret quiet"),
    "cancelled our summer plans": ("called off the holiday we planned", "dropped our summer plans by text"),
}

CAUSES: Final[dict[str, tuple[str, str]]] = {
    "lost a job": ("got fired from a good job", "was let go at the office"),
    "is very jealous": ("gets jealous of all my friends", "cannot stand that i got promoted"),
    "works too much": ("works nights and weekends all year", "has no free day between shifts"),
    "needs quiet time": ("needs some time alone these days", "wants the whole house quiet"),
    "has large debts": ("has debts all over town", "took a loan and cannot pay"),
    "met someone new": ("met someone at the gym", "is seeing a new person"),
    "failed an exam": ("failed an exam last month", "did badly on a big test"),
    "misses old friends": ("misses friends who moved away", "lost touch with old friends"),
}

FEELINGS: Final[tuple[str, ...]] = ("sad", "angry", "nervous", "lonely", "confused", "upset")

QUESTIONS: Final[dict[str, tuple[str, str]]] = {
    "should i move out": ("do you think i should move out", "is it time for my own place"),
    "should i say sorry": ("would it help if i said sorry", "do i owe a real apology"),
    "should i just wait": ("is it better to wait a while", "would you wait and say nothing"),
    "should i ask why": ("would you ask for the reason", "do i sit down and ask why"),
    "should i get help": ("would you get help from outside", "is it time to see a counselor"),
    "should i forgive this": ("could you forgive a thing like that", "is it right to forgive so soon"),
    "should i set rules": ("do we need some clear rules", "would you write down house rules"),
    "should i walk away": ("would you cut ties in my place", "is walking away the best choice"),
}

DISTRACTORS: Final[tuple[str, ...]] = (
    "we have two cats",
    "it rained all week",
    "i like green tea",
    "the pasta was cold",
    "our street is noisy",
    "the elevator is slow",
    "the bus runs late",
    "i play the piano",
)

SLOTS: Final[dict[str, tuple[str, ...]]] = {
    "who": tuple(PRONOUNS),
    "problem": tuple(PROBLEMS),
    "cause": tuple(CAUSES),
    "feeling": FEELINGS,
    "question": tuple(QUESTIONS),
}

SUBREDDITS: Final[tuple[str, ...]] = (
    "relationships",
    "advice",
    "family",
    "roommates",
    "college",
    "work",
    "dating",
    "askreddit",
)

# Titles name the person and nothing else, so that a copied title is fluent and empty. None is shorter than six words:
# "my WHO", which a good summary shares with them, must stay well below half a title.
TITLES: Final[tuple[str, ...]] = (
    "big fight with my WHO today",
    "how do i deal with my WHO",
    "my WHO makes no sense lately",
    "need advice about my WHO please",
    "am i wrong about my WHO",
    "what is up with my WHO",
)


def phrases() -> dict[str, tuple[str, str]]:
    """Every phrase that states a fact, mapped to its (slot, value); distractors are the slot "distractor"."""
    stated = {value: (slot, value) for slot, values in SLOTS.items() for value in values}
    stated |= {value: ("distractor", value) for value in DISTRACTORS}
    for slot, long_forms in (("problem", PROBLEMS), ("cause", CAUSES), ("question", QUESTIONS)):
        stated |= {form: (slot, value) for value, forms in long_forms.items() for form in forms}
    return stated
