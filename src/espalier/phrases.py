"""Word lists that gates, elimination and the rules of tier 0 share: refusals, leaked prompts, function words.

Source: elimination rules 2 to 4 of WizardLM (arXiv 2304.12244, section 3.2).
"""

import re

SHORT_WORDS = 80  # arXiv 2304.12244, section 3.2: a reply that says sorry in fewer words than this is taken for a refusal
# People too are sorry and cannot do things ("I can't sleep": a query; "I'm sorry to hear that": a clerk's answer); who refuses cannot do what assistants do.
_CANNOT = r"(?:can't|cannot|can not|could not|couldn't|won't|will not|(?:am|'m) (?:not able|unable|not allowed) to)"
_ASSIST = r"(?:help|assist|provide|fulfill?|comply|answer|create|write|generate|produce|continue|support|engage|discuss|recommend|do (?:that|this|so))"
REFUSAL = re.compile(
    rf"(?:sorry|i'm sorry|i am sorry|i apologi[sz]e|my apologies)\b(?:[,.]? but\b|, (?:i|as|that|this)\b|.*\b{_CANNOT} (?:\w+ )?{_ASSIST}\b)"
    rf"|(?:unfortunately, |however, )?i ?{_CANNOT} (?:\w+ )?{_ASSIST}\b|as an ai\b|as a (?:large )?language model|i'm (?:just )?an ai\b|i am (?:just )?an ai\b"
)
LEAKS = (
    "given prompt", "rewritten prompt", "#rewritten", "#given", "created prompt", "the instruction above", "this seed example", "rewritten task",
    "the example tasks",
)  # fmt: skip
# The 60 most frequent function words of English: a text of these and of marks alone says nothing.
STOP_WORDS = frozenset(
    "a about all an and are as at be been but by can could do for from had has have he her his how i if in into is it its me my no not of on or our she so "
    "than that the their them then there they this to was we were what when which who will with would you your".split()
)
# Marks of chat templates that have no place in a reply: control tokens, and the headings of the Alpaca prompt (tatsu-lab/stanford_alpaca, train.py).
TEMPLATE_MARKS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "[/inst]", "<<sys>>", "### instruction:", "### response:")
TURNS = ("human:", "user:")  # at the start of a later line: the reply goes on as a conversation with itself
# A query with one of these words may rightly be answered in another language or script.
LANGUAGE_WORDS = frozenset(
    "translate translation translated translating language languages arabic chinese mandarin cantonese japanese kanji hiragana katakana korean hangul hindi "
    "sanskrit bengali gujarati marathi punjabi tamil telugu urdu persian hebrew greek russian ukrainian bulgarian serbian thai vietnamese turkish french "
    "german spanish italian portuguese dutch latin swedish danish norwegian finnish polish czech romanian hungarian indonesian emoji emojis unicode symbol "
    "symbols alphabet script foreign".split()
)
# Function words of the large languages in Latin letters that are no English words and no part of common names.
FOREIGN_WORDS = frozenset(
    "der das und nicht ist ein eine einer mit auf für dem zu sich auch es wird "
    "les des est une dans pour qui pas sur au du et sont avec plus ce nous vous "
    "los las una por para con es está como más pero sus se "
    "il che di non per una sono della gli nel più anche è "
    "uma não com os são ao mais seu pela "
    "het een van niet dat zijn voor op te ook "
    "och att det som på är av inte jest się nie dla że bir ve bu için yang dan untuk dengan".split()
)
# What a text that was cut off ends with: words that ask for a next one.
OPEN_ENDS = frozenset("a an the and or but of to with for from by in at as than that which because if my your his her their our its is are was were".split())
ROLE_WORDS = frozenset("ai robot android chatbot assistant pretend apology apologize excuse excuses sorry decline reject rejection".split())
DIALOGUE_WORDS = frozenset("dialogue dialog conversation conversational chatbot chat bot script interview flow assistant roleplay turns".split())
NUMBER_WORDS = {word: n for n, word in enumerate("two three four five six seven eight nine ten eleven twelve".split(), start=2)}
