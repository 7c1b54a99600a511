// Runs jobs in the real XState: `node xstate.cjs FOLDER`, FOLDER holding the xstate package.
// Standard input: [{machine, guards, snapshot, events}]. Standard output: [{values, snapshot, children} or {error}].
// An event is {type}, or {child, type} for one of the actor's children. Invoked jobs never finish by themselves,
// and no timer fires; `machines` are actors that are machines.
const { createMachine, createActor, fromPromise, SimulatedClock } = require(process.argv[2]);

function sources(config, found) {
  for (const invoke of [config.invoke ?? []].flat()) found.add(invoke.src);
  for (const state of Object.values(config.states ?? {})) sources(state, found);
  return found;
}

function run({ machine, guards = {}, machines = {}, snapshot, events }) {
  const actors = {};
  for (const src of sources(machine, new Set())) {
    actors[src] = machines[src] ? createMachine(machines[src]) : fromPromise(() => new Promise(() => {}));
  }
  const implementations = { actors, guards: {} };
  for (const [name, value] of Object.entries(guards)) implementations.guards[name] = () => value;
  const options = { clock: new SimulatedClock() };
  if (snapshot) options.snapshot = snapshot;
  const actor = createActor(createMachine(machine, implementations), options);
  let failed = null;
  actor.subscribe({ error: (error) => (failed = error) });
  actor.start();
  const values = [actor.getSnapshot().value];
  for (const { child, type } of events) {
    if (child) actor.getSnapshot().children[child].send({ type });
    else actor.send({ type });
    values.push(actor.getSnapshot().value);
  }
  if (failed) throw failed;
  const children = Object.keys(actor.getSnapshot().children);
  return { values, children, status: actor.getSnapshot().status, snapshot: actor.getPersistedSnapshot() };
}

let text = '';
process.stdin.on('data', (data) => (text += data));
process.stdin.on('end', () => {
  const done = JSON.parse(text).map((job) => {
    try {
      return run(job);
    } catch (error) {
      return { error: String(error) };
    }
  });
  process.stdout.write(JSON.stringify(done));
});
