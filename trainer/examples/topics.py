"""Questions to topics: what is asked about the same things, in other words and for other reasons too.

In: questions. Out: the topic of each, named by the question in its middle. Pure; the order does not matter. Place in
the flow: under `thinning`, which lets the largest topics give up their examples first. Does not know splits or answers.

Words that several questions have count by how rare they are (TF-IDF, Salton and Buckley 1988), and questions are as
near as the angle between them is small. The question that is nearest to all others takes those that are near it, then
the next of those that are left. On Banking77 (3,000 questions, 77 intents) that makes 347 topics, of whose questions
57 % have their topic's commonest intent, and 21 topics of one question; at 0.4 it makes 576, 68 % and 105. The sample
(350 questions, 14 topics) has 117, and 69 %.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from trainer.examples.similar import Question
from trainer.examples.word_lists import FIXED_ASKED

ABOUT = 0.3  # cosine from which on two questions are about the same


def topics(questions: Sequence[Question]) -> list[int]:
    """For each question a number from 0 on; the largest topics come first as far as their middles are central."""
    if not questions:
        return []
    order = sorted(range(len(questions)), key=lambda place: questions[place].name)
    rows = _weighted([questions[place] for place in order])
    columns = rows.tocsc()
    central = rows @ np.asarray(rows.sum(axis=0)).ravel()
    topic = np.full(len(order), -1)
    likeness = np.zeros(len(order))
    count = 0
    for place in np.lexsort((np.arange(len(order)), -central.round(9))):
        if topic[place] >= 0:
            continue
        near = np.asarray((columns @ rows[place].T).todense()).ravel().round(9)
        mine = (near >= ABOUT) & (near > likeness)
        topic[mine], likeness[mine] = count, near[mine]
        topic[place], likeness[place] = count, 2.0  # stays the middle of its own
        count += 1
    found = [0] * len(order)
    for place, number in zip(order, topic, strict=True):
        found[place] = int(number)
    return found


def _weighted(questions: Sequence[Question]) -> sparse.csr_matrix:
    """A row a question, of length 1, with a column for each word."""
    said = [set(question.last.bag) - FIXED_ASKED for question in questions]
    heard = Counter(word for some in said for word in some)
    words = [sorted(word for word in some if heard[word] > 1) for some in said]
    column = {word: place for place, word in enumerate(sorted({word for some in words for word in some}))}
    row = np.repeat(np.arange(len(words)), [len(some) for some in words])
    cells = np.array([column[word] for some in words for word in some], dtype=np.int64)
    matrix = sparse.csr_matrix((np.ones(len(cells)), (row, cells)), shape=(len(words), max(len(column), 1)))
    seen = np.maximum(np.asarray(matrix.sum(axis=0)).ravel(), 1)
    matrix = matrix @ sparse.diags(np.log(1 + len(words) / seen))
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.where(length > 0, length, 1.0)) @ matrix)
