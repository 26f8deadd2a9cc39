// An OAuth server for tests: npm oidc-provider over TLS. All decisions about tokens are the package's, not ours.
//
//   node server.mjs "$(./install)" '{"cert":"leaf.pem","key":"leaf.key","clients":[{"client_id":"agent"}]}'
//
// The second argument is the configuration:
//   cert, key          paths of PEM files
//   host, port         the address to listen on, also in the issuer's URL; 127.0.0.1 and 0 (a free port)
//   access_token_ttl   seconds, 3600          refresh_token_ttl   seconds, 30 days
//   scopes             scopes that may be granted besides openid and offline_access
//   clients            as in RFC 7591; one without a secret is a public client
//
// When it is ready, it prints the line {"ready":true,"issuer":"https://…"} on stdout; other lines are notices. It ends
// when its stdin closes, so it does not outlive the test that started it.
//
// Routes for tests, which a real server must not have:
//   POST /test/refresh-token {client_id, scope} → {refresh_token}   a grant without a browser
//   GET  /test/log → [event]   presentations at the token endpoint and revocations, in order of completion
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [packages, argument] = process.argv.slice(2);
const config = { host: '127.0.0.1', port: 0, access_token_ttl: 3600, refresh_token_ttl: 30 * 86400,
  scopes: [], clients: [], ...JSON.parse(argument) };

// import() searches next to this file, where nothing is installed; require.resolve() searches the given directory.
const installed = createRequire(join(packages, 'package.json')).resolve('oidc-provider');
const { default: Provider } = await import(pathToFileURL(installed));

// The package's own store keeps only 1,000 entries, and would forget that an old token was used.
const stored = new Map();
const members = new Map();
class Store {
  constructor(model) { this.model = model; }
  key(id) { return `${this.model}:${id}`; }
  async upsert(id, payload) {
    stored.set(this.key(id), payload);
    if (payload.grantId) {
      if (!members.has(payload.grantId)) members.set(payload.grantId, new Set());
      members.get(payload.grantId).add(this.key(id));
    }
  }
  async find(id) { return stored.get(this.key(id)); }
  async findBy(field, value) {
    for (const [key, payload] of stored) {
      if (key.startsWith(`${this.model}:`) && payload[field] === value) return payload;
    }
    return undefined;
  }
  async findByUid(uid) { return this.findBy('uid', uid); }
  async findByUserCode(code) { return this.findBy('userCode', code); }
  async consume(id) { stored.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { stored.delete(this.key(id)); }
  async revokeByGrantId(grantId) {
    for (const key of members.get(grantId) ?? []) stored.delete(key);
    members.delete(grantId);
  }
}

const server = createServer({ cert: readFileSync(config.cert), key: readFileSync(config.key) });
await new Promise((resolve, reject) => {
  server.once('error', reject);
  server.listen(config.port, config.host, resolve);
});
const name = config.host.includes(':') ? `[${config.host}]` : config.host;
const issuer = `https://${name}:${server.address().port}`;

const provider = new Provider(issuer, {
  adapter: Store,
  clients: config.clients.map((client) => ({
    redirect_uris: ['http://127.0.0.1/cb'],
    grant_types: ['authorization_code', 'refresh_token'],
    ...(client.client_secret ? {} : { token_endpoint_auth_method: 'none', application_type: 'native' }),
    ...client,
  })),
  cookies: { keys: [randomBytes(32).toString('hex')] },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    introspection: { enabled: true },
    registration: { enabled: true },
    registrationManagement: { enabled: true },
    revocation: { enabled: true },
  },
  findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
  pkce: { required: () => true },
  rotateRefreshToken: true,
  scopes: ['openid', 'offline_access', ...config.scopes],
  ttl: { AccessToken: config.access_token_ttl, ClientCredentials: config.access_token_ttl,
    RefreshToken: config.refresh_token_ttl, Grant: 3 * 365 * 86400 },
});

const log = [];
const families = new Map(); // SHA-256 of a refresh token → its grant; kept after the revocation
const sha256 = (text) => createHash('sha256').update(text).digest('hex');

provider.on('grant.error', (ctx, error) => { ctx.state.reason = error.error_detail ?? error.message; });
provider.on('grant.revoked', (_, family) => log.push({ kind: 'revoked', at_ms: Date.now(), family }));
provider.use(async (ctx, next) => {
  const at_ms = Date.now();
  await next();
  if (ctx.path !== '/token') return;
  const { client_id, grant_type, refresh_token } = ctx.oidc?.params ?? {};
  const token_sha256 = refresh_token && sha256(refresh_token);
  const child_sha256 = ctx.body?.refresh_token && sha256(ctx.body.refresh_token);
  const family = ctx.oidc?.entities.RefreshToken?.grantId ?? families.get(token_sha256);
  if (child_sha256) families.set(child_sha256, family);
  const outcome = ctx.body?.error ?? (ctx.status === 200 ? 'granted' : `status_${ctx.status}`);
  log.push({ kind: 'presented', at_ms, host: ctx.host, path: ctx.path, grant_type, token_sha256, child_sha256,
    family, client_id: ctx.oidc?.client?.clientId ?? client_id, outcome, reason: ctx.state.reason });
});

async function seed({ client_id: clientId, scope }) {
  const client = await provider.Client.find(clientId);
  if (!client) throw new Error(`no client ${clientId}`);
  const grant = new provider.Grant({ accountId: 'agent', clientId });
  grant.addOIDCScope(scope);
  const grantId = await grant.save();
  const token = new provider.RefreshToken({ accountId: 'agent', client, grantId, scope,
    gty: 'authorization_code', authTime: Math.floor(Date.now() / 1000) });
  const refresh_token = await token.save();
  families.set(sha256(refresh_token), grantId);
  return { refresh_token };
}

async function testRoute(request) {
  if (request.url === '/test/log') return log;
  if (request.url !== '/test/refresh-token') throw new Error(`no test route ${request.url}`);
  let body = '';
  for await (const part of request) body += part;
  return seed(JSON.parse(body));
}

const oauth = provider.callback();
server.on('request', async (request, response) => {
  if (!request.url.startsWith('/test/')) return oauth(request, response);
  const answer = await testRoute(request).then((body) => [200, body], (error) => [400, { error: error.message }]);
  return response.writeHead(answer[0], { 'content-type': 'application/json' }).end(JSON.stringify(answer[1]));
});

process.stdin.on('end', () => process.exit(0)).resume();
process.stdout.write(`${JSON.stringify({ ready: true, issuer })}\n`);
