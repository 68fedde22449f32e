"""Above the chat's box after a swap: the last question as it was answered before, and as it is answered now."""

import time

from assistant.web.markup import render
from assistant.web.user_conversations import UserConversations
from store import Store
from store.records import MessageStatus, Role

_RECENT_S = 86400.0  # a swap is news for a day


def swap_banner(store: Store, own: UserConversations, conversation_id: str | None) -> str:
    """Empty unless an adapter was swapped in lately and the conversation's last answer has a version from before."""
    conversation = own.conversation(conversation_id) if conversation_id else None
    active = store.deployments.active(conversation.assistant_id) if conversation else None
    if conversation is None or active is None or active.adapter is None:
        return ""
    if time.time() - (active.activated_at or 0.0) > _RECENT_S:
        return ""
    turns = [turn for turn in own.turns(conversation.id)[-1:] if turn.message.role is Role.ASSISTANT]
    versions = [own.message(id) for turn in turns for id in turn.versions]
    whole = [one for one in versions if one.status is MessageStatus.COMPLETE]
    new = [one for one in whole if one.deployment_id == active.id]
    old = [one for one in whole if one.deployment_id not in (None, active.id)]
    if not old:
        return ""
    before, last = store.deployments.get(old[-1].deployment_id or 0), new[-1] if new else None
    return render("swap_banner.html", active=active, before=before, old=old[-1], new=last)
