// A citizen on the simulated Bluesky, by way of a client library that was written elsewhere and checks
// every answer against the platform's own lexicons. One step per call; prints one line of JSON.
//
//   node citizen.mjs <origin> <identifier> <password> send <to-handle> <text>
//   node citizen.mjs <origin> <identifier> <password> read <to-handle>
//   node citizen.mjs <origin> <identifier> <password> list
//   node citizen.mjs <origin> <identifier> <password> log [cursor]
//   node citizen.mjs <origin> <identifier> <password> delete <to-handle> <message-id>
//   node citizen.mjs <origin> <identifier> <password> accept <to-handle>
//   node citizen.mjs <origin> <identifier> <password> tour <to-handle>
//
// `tour` makes every call that the simulator knows. Ends with 1 when a call fails or an answer breaks
// its lexicon (the reason goes to stderr), with 2 for wrong arguments, with 3 when the library is not
// installed (run `npm ci` here).

let AtpAgent;
try {
  ({ AtpAgent } = await import('@atproto/api'));
} catch {
  console.error('@atproto/api is not installed; run npm ci in this folder');
  process.exit(3);
}

const [origin, identifier, password, step, ...rest] = process.argv.slice(2);

function usage(message) {
  console.error(message);
  process.exit(2);
}

const pick = (message) => ({
  id: message.id,
  kind: String(message.$type ?? 'messageView').split('#').pop(),
  sender: message.sender?.did,
  text: message.text,
  sentAt: message.sentAt,
});

async function resolve(agent, handle) {
  if (!handle) usage('the other side is missing');
  const { data } = await agent.com.atproto.identity.resolveHandle({ handle });
  return data.did;
}

async function conversation(agent, chat, handle) {
  const did = await resolve(agent, handle);
  const { data } = await chat.getConvoForMembers({ members: [did] });
  return data.convo;
}

async function allMessages(chat, convoId) {
  const messages = [];
  let cursor;
  for (let pages = 0; pages < 1000; ++pages) {
    const { data } = await chat.getMessages({ convoId, limit: 100, cursor });
    messages.push(...data.messages);
    if (!data.cursor) return messages.reverse();
    cursor = data.cursor;
  }
  throw new Error('the conversation does not end');
}

const steps = {
  async send(agent, chat, [to, text]) {
    if (text === undefined) usage('the text is missing');
    const convo = await conversation(agent, chat, to);
    const { data } = await chat.sendMessage({ convoId: convo.id, message: { text } });
    return { convoId: convo.id, message: pick(data) };
  },

  async read(agent, chat, [to]) {
    const convo = await conversation(agent, chat, to);
    const messages = await allMessages(chat, convo.id);
    return { convoId: convo.id, status: convo.status, messages: messages.map(pick) };
  },

  async list(agent, chat) {
    const accepted = await chat.listConvos({ limit: 100, status: 'accepted' });
    const requests = await chat.listConvoRequests({ limit: 100 });
    const brief = (convo) => ({ id: convo.id, rev: convo.rev, unread: convo.unreadCount,
                                members: convo.members.map((member) => member.handle) });
    return { accepted: accepted.data.convos.map(brief),
             requests: requests.data.requests.map(brief) };
  },

  async log(agent, chat, [cursor]) {
    const { data } = await chat.getLog(cursor ? { cursor } : {});
    return { cursor: data.cursor,
             logs: data.logs.map((entry) => ({ kind: String(entry.$type).split('#').pop(),
                                               convoId: entry.convoId,
                                               message: entry.message && pick(entry.message) })) };
  },

  async delete(agent, chat, [to, messageId]) {
    const convo = await conversation(agent, chat, to);
    const { data } = await chat.deleteMessageForSelf({ convoId: convo.id, messageId });
    return { deleted: data.id };
  },

  async accept(agent, chat, [to]) {
    const convo = await conversation(agent, chat, to);
    const { data } = await chat.acceptConvo({ convoId: convo.id });
    return { rev: data.rev ?? null };
  },

  async tour(agent, chat, [to]) {
    const did = await resolve(agent, to);
    await agent.com.atproto.server.describeServer();
    await agent.com.atproto.server.getSession();
    await agent.sessionManager.refreshSession();
    const start = (await chat.getLog({})).data.cursor;
    const availability = await chat.getConvoAvailability({ members: [did] });
    const convo = await conversation(agent, chat, to);
    const sent = await chat.sendMessage({ convoId: convo.id, message: { text: 'tour \u{1F469}\u200D\u{1F467}' } });
    for (let i = 0; i < 12; ++i) {
      await chat.sendMessage({ convoId: convo.id, message: { text: `tour ${i}` } });
    }
    await chat.sendMessage({ convoId: convo.id,
                             message: { text: 'in answer', replyTo: { messageId: sent.data.id } } });
    await chat.getConvo({ convoId: convo.id });
    await chat.getConvoMembers({ convoId: convo.id });
    await chat.updateRead({ convoId: convo.id });
    await chat.muteConvo({ convoId: convo.id });
    await chat.unmuteConvo({ convoId: convo.id });
    await chat.acceptConvo({ convoId: convo.id });
    await chat.deleteMessageForSelf({ convoId: convo.id, messageId: sent.data.id });
    const page = await chat.getMessages({ convoId: convo.id, limit: 5 });
    const messages = await allMessages(chat, convo.id);
    const lists = await steps.list(agent, chat);
    const kinds = new Set();
    let cursor = start;
    for (let pages = 0; pages < 100; ++pages) {
      const { data } = await chat.getLog({ cursor });
      if (data.logs.length === 0) break;
      for (const entry of data.logs) kinds.add(String(entry.$type).split('#').pop());
      cursor = data.cursor;
    }
    const refusals = {};
    for (const [name, call] of Object.entries({
      limit: () => agent.call('chat.bsky.convo.listConvos', { limit: 101 }, undefined,
                              { headers: { 'atproto-proxy': 'did:web:api.bsky.chat#bsky_chat' } }),
      proxy: () => agent.call('chat.bsky.convo.listConvos', { limit: 1 }),
      convo: () => chat.getConvo({ convoId: '3kzzzzzzzzzzz' }),
      cursor: () => chat.getLog({ cursor: 'nonsense' }),
      long: () => chat.sendMessage({ convoId: convo.id, message: { text: 'x'.repeat(1001) } }),
      target: () => chat.sendMessage({ convoId: convo.id,
                                       message: { text: 'x', replyTo: { messageId: 'none' } } }),
    })) {
      try {
        await call();
        refusals[name] = 'accepted';
      } catch (error) {
        refusals[name] = `${error.status ?? 'client'} ${error.error ?? error.name}`;
      }
    }
    await chat.leaveConvo({ convoId: convo.id });
    return { canChat: availability.data.canChat, messages: messages.length,
             first: pick(messages[0]), page: page.data.messages.length,
             accepted: lists.accepted.length, kinds: [...kinds].sort(), refusals };
  },
};

if (!origin || !identifier || !password || !Object.hasOwn(steps, step ?? '')) {
  usage('usage: citizen.mjs <origin> <identifier> <password> ' +
        `${Object.keys(steps).join('|')} [arguments]`);
}

try {
  const agent = new AtpAgent({ service: origin });
  await agent.login({ identifier, password });
  const chat = agent.withProxy('bsky_chat', 'did:web:api.bsky.chat').chat.bsky.convo;
  console.log(JSON.stringify(await steps[step](agent, chat, rest)));
} catch (error) {
  console.error(`${step}: ${error.status ?? ''} ${error.error ?? error.name}: ${error.message}`);
  process.exit(1);
}
