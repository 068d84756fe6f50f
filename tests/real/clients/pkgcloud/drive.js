// SPDX-License-Identifier: Apache-2.0
// Calls of pkgcloud's CDN client, as tests.real.old_clients asks for them: a JSON array on each
// line of standard input, and its result on a line of standard output.
'use strict';

const readline = require('node:readline');
const pkgcloud = require('pkgcloud');

const [provider, url, project] = process.argv.slice(2);
const client = pkgcloud.cdn.createClient({
  provider, authUrl: 'http://127.0.0.1:1', username: '-', password: '-', apiKey: '-', region: '-',
});
// What the client takes from Keystone and its catalog.
client._serviceUrl = url;
client._identity.token = { id: 'token', expires: new Date(Date.now() + 3600e3) };
client.before.push((request) => { request.headers['X-Project-ID'] = project; });

const call = (name, ...values) => new Promise((resolve, reject) => {
  client[name](...values, (error, result) => (error ? reject(error) : resolve(result)));
});

async function change(id, edit) {
  const service = await call('getService', id);
  edit(service);
  await call('updateService', service);
}

const actions = {
  ping: () => call('getPing'),
  flavors: async () => (await call('getFlavors')).map((it) => it.id),
  create: async (name, flavorId, domain, origin) => (await call('createService', {
    name, flavorId, domains: [{ domain }], origins: [{ origin }],
  })).id,
  list: async () => (await call('getServices')).map((it) => it.id),
  get: async (id) => (await call('getService', id)).toJSON(),
  rename: (id, name) => change(id, (service) => { service.name = name; }),
  add_domain: (id, domain) => change(id, (service) => { service.domains.push({ domain }); }),
  purge: (id, path) => call('deleteServiceCachedAssets', id, path),
  purge_all: (id) => call('deleteServiceCachedAssets', id),
  delete: (id) => call('deleteService', id),
};

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const [name, ...values] = JSON.parse(line);
  try {
    console.log(JSON.stringify({ result: (await actions[name](...values)) ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: `${error} ${JSON.stringify(error.result ?? null)}` }));
  }
});
