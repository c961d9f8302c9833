from prunekit.tasks.testbed import lexicon


def test_word_classes_that_a_task_tells_apart_share_no_word():
    classes = (lexicon.LIKING, lexicon.DISLIKING, lexicon.BIRDS, lexicon.BEASTS, lexicon.COLOURS, lexicon.PLACES)
    classes += (lexicon.TOPICS, lexicon.PRAISE, lexicon.BLAME, lexicon.NAMES)
    words = [word for one in classes for word in one]
    assert len(words) == len(set(words))


def test_every_instruction_word_leads_its_own_synonyms_and_no_other():
    everyone = [word for group in lexicon.SYNONYMS.values() for word in group]
    assert len(everyone) == len(set(everyone))
    for word, group in lexicon.SYNONYMS.items():
        assert group[0] == word and len(group) >= 2


def test_plain_words_mean_nothing_elsewhere():
    spoken = {*lexicon.GRAMMAR, *lexicon.NAMES, *lexicon.BIRDS, *lexicon.BEASTS, *lexicon.COLOURS, *lexicon.PLACES}
    spoken |= {word for group in lexicon.SYNONYMS.values() for word in group} | {lexicon.OPENING}
    assert not spoken & set(lexicon.PLAIN)
    assert len(lexicon.PLAIN) == len(set(lexicon.PLAIN))


def test_the_animals_of_a_list_are_half_birds_and_half_beasts():
    assert set(lexicon.LISTED) <= {*lexicon.BIRDS, *lexicon.BEASTS}
    assert sum(word in lexicon.BIRDS for word in lexicon.LISTED) == len(lexicon.LISTED) / 2
