"""Above the chat's box after a swap: the last question as it was answered before, and as it is answered now."""

import time
from collections.abc import Callable

from assistant.web.markup import render
from assistant.web.user_conversations import UserConversations
from store import Store
from store.records import Message, MessageStatus, Role

_RECENT_S = 86400.0  # a swap is news for a day


def swap_banner(store: Store, own: UserConversations, conversation_id: str | None) -> str:
    """Empty unless an adapter was swapped in lately and the conversation's last answer has a version from before."""
    conversation = own.conversation(conversation_id) if conversation_id else None
    active = store.deployments.active(conversation.assistant_id) if conversation else None
    if conversation is None or active is None or active.adapter is None:
        return ""
    if time.time() - (active.activated_at or 0.0) > _RECENT_S:
        return ""
    turns = own.turns(conversation.id)[-1:]
    versions = [
        own.message(id) for turn in turns for id in turn.versions if turn.message.role is Role.ASSISTANT
    ]
    new = _last(versions, lambda message: message.deployment_id == active.id)
    old = _last(versions, lambda message: message.deployment_id not in (None, active.id))
    if old is None:
        return ""
    before = store.deployments.get(old.deployment_id or 0)
    return render("swap_banner.html", active=active, before=before, old=old, new=new)


def _last(versions: list[Message], wanted: Callable[[Message], bool]) -> Message | None:
    complete = [one for one in versions if one.status is MessageStatus.COMPLETE and wanted(one)]
    return complete[-1] if complete else None
