// Somebody on the simulated Mastodon, citizen or staff, by way of a client library that was written
// elsewhere: its paths, its encoding, its paging along Link headers. One step per call; prints one
// line of JSON.
//
//   node citizen.mjs <origin> <token> verify
//   node citizen.mjs <origin> <token> send <text> [idempotency-key] [in-reply-to]
//   node citizen.mjs <origin> <token> form <text>                 the same as multipart/form-data
//   node citizen.mjs <origin> <token> conversations [page-size]   all of them, page by page
//   node citizen.mjs <origin> <token> mentions [page-size] [above-id]
//   node citizen.mjs <origin> <token> context <status-id>
//   node citizen.mjs <origin> <token> edit <status-id> <text>
//   node citizen.mjs <origin> <token> delete <status-id>
//   node citizen.mjs <origin> <token> read <conversation-id>
//   node citizen.mjs <origin> <token> policy <accept|filter|drop>
//   node citizen.mjs <origin> <token> requests [accept]           lets all strangers through
//   node citizen.mjs <origin> -       register                    an application and its token
//
// Ends with 1 when a call fails (status and the server's words go to stderr), with 2 for wrong
// arguments, with 3 when the library is not installed (run `npm ci` here).

let createRestAPIClient;
let createOAuthAPIClient;
try {
  ({ createRestAPIClient, createOAuthAPIClient } = await import('masto'));
} catch {
  console.error('masto is not installed; run npm ci in this folder');
  process.exit(3);
}

const [origin, token, step, ...rest] = process.argv.slice(2);

function usage(message) {
  console.error(message);
  process.exit(2);
}

const pick = (status) => status && {
  id: status.id,
  author: status.account.acct,
  content: status.content,
  text: status.text,
  visibility: status.visibility,
  inReplyToId: status.inReplyToId,
  createdAt: status.createdAt,
  editedAt: status.editedAt,
  mentions: status.mentions.map((mention) => mention.acct),
};

// Every page until the library finds no further link. `pages` counts the empty last one.
async function everyPage(paginator, take) {
  const items = [];
  let pages = 0;
  for await (const page of paginator) {
    if (++pages > 1000) throw new Error('the list does not end');
    items.push(...page.map(take));
  }
  return { pages, items };
}

const steps = {
  async verify(client) {
    const own = await client.v1.accounts.verifyCredentials();
    const instance = await client.v2.instance.fetch();
    const found = await client.v1.accounts.lookup({ acct: own.acct });
    return { id: own.id, acct: own.acct, domain: instance.domain, same: found.id === own.id,
             max: instance.configuration.statuses.maxCharacters, version: instance.version };
  },

  async send(client, [text, key, inReplyToId]) {
    if (text === undefined) usage('the text is missing');
    const headers = key ? { 'Idempotency-Key': key } : {};
    return pick(await client.v1.statuses.create({ status: text, visibility: 'direct', inReplyToId },
                                                { requestInit: { headers } }));
  },

  async form(client, [text]) {
    return pick(await client.v1.statuses.create({ status: text, visibility: 'direct' },
                                                { encoding: 'multipart-form' }));
  },

  async conversations(client, [limit]) {
    return everyPage(client.v1.conversations.list(limit ? { limit: Number(limit) } : {}),
                     (entry) => ({ id: entry.id, unread: entry.unread,
                                   accounts: entry.accounts.map((account) => account.acct),
                                   last: pick(entry.lastStatus) }));
  },

  async mentions(client, [limit, minId]) {
    const list = client.v1.notifications.list({ types: ['mention'], minId,
                                                ...(limit ? { limit: Number(limit) } : {}) });
    // Upwards from a position, else downwards from the newest.
    return everyPage(minId ? list.setDirection('prev') : list,
                     (notice) => ({ id: notice.id, type: notice.type,
                                    status: pick(notice.status) }));
  },

  async context(client, [id]) {
    const context = await client.v1.statuses.$select(id).context.fetch();
    const history = await client.v1.statuses.$select(id).history.list();
    const source = await client.v1.statuses.$select(id).source.fetch();
    return { ancestors: context.ancestors.map(pick), descendants: context.descendants.map(pick),
             versions: history.length, source: source.text };
  },

  async edit(client, [id, text]) {
    return pick(await client.v1.statuses.$select(id).update({ status: text }));
  },

  async delete(client, [id]) {
    return pick(await client.v1.statuses.$select(id).remove());
  },

  async read(client, [id]) {
    const entry = await client.v1.conversations.$select(id).read();
    return { id: entry.id, unread: entry.unread };
  },

  async policy(client, [forPrivateMentions]) {
    const before = await client.v2.notifications.policy.fetch();
    const after = await client.v2.notifications.policy.update({ forPrivateMentions });
    return { before: before.forPrivateMentions, after: after.forPrivateMentions,
             waiting: after.summary.pendingRequestsCount };
  },

  async requests(client, [accept]) {
    const found = await everyPage(client.v1.notifications.requests.list(),
                                  (request) => ({ id: request.id, from: request.account.acct }));
    for (const { id } of accept ? found.items : []) {
      await client.v1.notifications.requests.$select(id).accept();
    }
    return found;
  },

  async register() {
    const open = createRestAPIClient({ url: origin });
    const oauth = createOAuthAPIClient({ url: origin });
    const app = await open.v1.apps.create({ clientName: 'citizen', scopes: 'read write',
                                            redirectUris: 'urn:ietf:wg:oauth:2.0:oob' });
    const { clientId, clientSecret } = app;
    const granted = await oauth.token.create({ grantType: 'client_credentials', clientId,
                                               clientSecret, scope: 'read' });
    const own = createRestAPIClient({ url: origin, accessToken: granted.accessToken });
    const seen = await own.v1.apps.verifyCredentials();
    await oauth.revoke.create({ clientId, clientSecret, token: granted.accessToken });
    const after = await own.v1.apps.verifyCredentials().then(() => 200, (error) => error.statusCode);
    return { name: seen.name, type: granted.tokenType, scope: granted.scope, after };
  },
};

if (!origin || !token || !Object.hasOwn(steps, step ?? '')) {
  usage(`usage: citizen.mjs <origin> <token> ${Object.keys(steps).join('|')} [arguments]`);
}

try {
  const client = createRestAPIClient({ url: origin, accessToken: token });
  console.log(JSON.stringify(await steps[step](client, rest)));
} catch (error) {
  console.error(`${step}: ${error.statusCode ?? ''} ${error.name}: ${error.message}`);
  process.exit(1);
}
