"""The built-in world: a small language whose problems can be written, read back and checked exactly.

    lexicon     the words, by class
    materials   what a problem is about (a list, a number, facts, a story): draw, write, read, extend
    leaves      the 54 leaves: how each asks, and how each is solved
    grammar     problem -> text, text -> problem, reply -> verdict
    demonstrations  (prompt, reply) examples for every generation step, and the teacher's skewed corpus
    exam        held-out items
"""
