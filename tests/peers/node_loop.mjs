// The official client in a plain loop: node node_loop.mjs URL TOKEN PAGE. One line of JSON for each row.
//
// The client itself neither waits nor tries again, so the loop does what its users write around it: a call
// that fails is tried again after two seconds, five times. PAGE 0 leaves the page size out, as the examples
// of its documentation do.
import { createRequire } from 'node:module';
import { once } from 'node:events';

const require = createRequire(process.cwd() + '/');
const v1 = require('pipedrive/v1');
const v2 = require('pipedrive/v2');
const [url, apiKey, page] = process.argv.slice(2);
const first = new v1.Configuration({ apiKey, basePath: `${url}/v1` });
const second = new v2.Configuration({ apiKey, basePath: `${url}/api/v2` });
const limit = Number(page) || undefined;

const lists = [
  ['currencies', new v1.CurrenciesApi(first), 'getCurrencies'],
  ['activity_types', new v1.ActivityTypesApi(first), 'getActivityTypes'],
  ['stages', new v2.StagesApi(second), 'getStages'],
  ['filters', new v1.FiltersApi(first), 'getFilters'],
  ['pipelines', new v2.PipelinesApi(second), 'getPipelines'],
  ['notes', new v1.NotesApi(first), 'getNotes'],
  ['users', new v1.UsersApi(first), 'getUsers'],
  ['activities', new v2.ActivitiesApi(second), 'getActivities'],
  ['deals', new v2.DealsApi(second), 'getDeals'],
  ['files', new v1.FilesApi(first), 'getFiles'],
  ['organizations', new v2.OrganizationsApi(second), 'getOrganizations'],
  ['persons', new v2.PersonsApi(second), 'getPersons'],
  ['products', new v2.ProductsApi(second), 'getProducts'],
  ['deal_fields', new v2.DealFieldsApi(second), 'getDealFields'],
];

async function patiently(call) {
  for (let tries = 1; ; tries++) {
    try {
      const answer = await call();
      if (Array.isArray(answer?.data)) return answer;
      throw new Error('no rows');
    } catch (error) {
      if (tries === 6) throw error;
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
}

let failed = false;
for (const [name, api, method] of lists) {
  const asked = { limit: name === 'files' ? limit && Math.min(limit, 100) : limit };
  try {
    for (;;) {
      const { data, additional_data: more } = await patiently(() => api[method](asked));
      for (const row of data) {
        const line = JSON.stringify({ entity: name, row }) + '\n';
        if (!process.stdout.write(line)) await once(process.stdout, 'drain');
      }
      if (more?.next_cursor) asked.cursor = more.next_cursor;
      else if (more?.pagination?.more_items_in_collection) asked.start = more.pagination.next_start;
      else break;
    }
  } catch (error) {
    failed = true;
    console.error(`${name}: ${JSON.stringify(error?.message ?? error)}`);
  }
}
process.exitCode = failed ? 1 : 0;
