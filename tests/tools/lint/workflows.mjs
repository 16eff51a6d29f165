// workflows.mjs MODULES: what neither a schema nor actionlint asks of the workflows. Actions are pinned by full hash with
// their version next to it; permissions are least; every job has an end; a step runs what can be run locally, that is a
// make target or a script of this tree; one job stands for all others; and no target of the Makefile is forgotten.
//
// Then each rule is broken on purpose, in memory, and must be noticed. Ends with `N passed, N failed, N skipped`.
import fs from 'node:fs';
import path from 'node:path';
import {createRequire} from 'node:module';

const {parseDocument, visit} = createRequire(path.resolve(process.argv[2], 'x.js'))('yaml');
const FOLDER = '.github/workflows';

// What no workflow needs to call, and why.
const NOT_CALLED = {
    all: 'the others build what they need', clean: 'for users', format: 'lint checks it',
    install: 'package calls it', uninstall: 'package calls it',
    help: 'prints', fuzz: 'fuzz-smoke is the same without a picture', 'fuzz-merge': 'writes what is committed',
    'peer-servers': 'interop, peers and bench-check build them', bench: 'bench-check has the gates',
    checks: 'its parts are called one by one',
    asan: 'a part of sanitize', ubsan: 'a part of sanitize', lsan: 'sanitize looks for leaks, too',
};
// The only thing that a job may write.
const WRITABLE = ['security-events'];

const makefiles = ['Makefile', 'tests/gates.mk', 'fuzz/fuzz.mk', 'bench/bench.mk'];
const lines = makefiles.flatMap(file => fs.readFileSync(file, 'utf8').split('\n'));
const targetsOf = pattern => lines.flatMap(line => (line.match(pattern) ?? ['', ''])[1].split(' ').filter(Boolean));
const targets = new Set(targetsOf(/^([a-z][a-z -]*):(?!=)/));
const announced = targetsOf(/^([a-z][a-z-]*):.*## /);

// Every way in which the matrix fills in a text; a name that it does not have stays and is complained of.
function expand(text, matrix) {
    const names = [...new Set([...text.matchAll(/\$\{\{ *matrix\.([\w-]+) *\}\}/g)].map(match => match[1]))];
    let rows = [{}];
    for (const name of names) {
        if (matrix?.include) continue;
        rows = rows.flatMap(row => (matrix?.[name] ?? []).map(value => ({...row, [name]: value})));
    }
    if (matrix?.include) rows = matrix.include;
    return rows.map(row => names.reduce((all, name) => row[name] === undefined ? all :
        all.replace(new RegExp(`\\$\\{\\{ *matrix\\.${name} *\\}\\}`, 'g'), row[name]), text).trim());
}

function checkCommand(command, say, called) {
    const words = command.split(/ +/);
    if (command.includes('${{')) return say(`an expression other than the matrix's in a command: ${command}`);
    const makes = words[0] === 'make' || words[0] === 'sh' && words[1] === '.ci/target.sh' && words.shift();
    if (!makes) {
        if (words[0] !== 'sh') return say(`neither make nor a script: ${command}`);
        const plain = words.slice(2).every(word => /^[\w./$-]+$/.test(word));
        return fs.existsSync(words[1] ?? '') && plain ? null : say(`no script of this tree: ${command}`);
    }
    const goals = words.slice(1).filter(word => !/^[A-Z_]+=[\w.,/-]*$/.test(word));
    // A value with blanks would be taken for a goal, and is complained of here.
    if (!goals.length) return say(`neither make nor a script: ${command}`);
    for (const goal of goals) targets.has(goal) ? called.add(goal) : say(`no target of the Makefile: ${goal}`);
}

// Every `uses:` with the comment behind it.
function usesOf(document) {
    const found = [];
    visit(document, {Pair(_, pair) {
        if (pair.key?.value === 'uses') found.push({what: String(pair.value.value), comment: pair.value.comment ?? ''});
    }});
    return found;
}

function checkPins(document, say, pins) {
    for (const {what, comment} of usesOf(document)) {
        const [action, hash] = what.split('@');
        if (!/^[0-9a-f]{40}$/.test(hash ?? '')) say(`not pinned by a full hash: ${what}`);
        if (!/^ v\d+(\.\d+)*$/.test(comment)) say(`no version next to the hash: ${what}`);
        // The actions of one repository come from one commit.
        const repository = action.split('/').slice(0, 2).join('/');
        if (pins.has(repository) && pins.get(repository) !== hash) say(`two versions of one action: ${repository}`);
        pins.set(repository, hash);
    }
}

function checkPermissions(name, flow, say) {
    const top = flow.permissions;
    const least = top && typeof top === 'object' && Object.entries(top).every(([scope, may]) => scope === 'contents' && may === 'read');
    if (!least) say('permissions of the workflow are not {} or contents: read');
    for (const [id, job] of Object.entries(flow.jobs)) {
        if (job.permissions === undefined) continue;
        const fine = typeof job.permissions === 'object' && Object.entries(job.permissions).every(([scope, may]) =>
            may === 'read' || may === 'none' || may === 'write' && WRITABLE.includes(scope));
        if (!fine) say(`${id}: permissions to write what it need not`);
    }
    if ('pull_request_target' in (typeof flow.on === 'object' ? flow.on : {[flow.on]: 0}))
        say('pull_request_target gives strangers our rights');
}

function checkJob(id, job, say, called) {
    if (!Number.isInteger(job['timeout-minutes'])) say(`${id}: no timeout-minutes`);
    const systems = expand(String(job['runs-on'] ?? ''), job.strategy?.matrix);
    if (systems.some(system => system.endsWith('-latest'))) say(`${id}: a runner that changes by itself`);
    for (const step of job.steps ?? []) {
        if (step.uses?.startsWith('actions/checkout@') && step.with?.['persist-credentials'] !== false)
            say(`${id}: checkout leaves its token in the folder`);
        // A virtual machine's commands are an input of its action.
        const run = step.run ?? (step.uses ? step.with?.run : undefined);
        for (const line of String(run ?? '').split('\n').filter(Boolean))
            for (const command of expand(line, job.strategy?.matrix)) checkCommand(command, text => say(`${id}: ${text}`), called);
    }
}

function checkGate(name, flow, say) {
    const gate = flow.jobs['all-green'];
    if (!gate) return Object.keys(flow.jobs).length > 1 ? say('no job all-green') : null;
    const others = Object.keys(flow.jobs).filter(id => id !== 'all-green');
    for (const id of others) if (![].concat(gate.needs).includes(id)) say(`all-green does not need ${id}`);
    // Without it the gate is skipped when a job fails, and a skipped job counts as passed where one is required.
    if (gate.if !== 'always()') say('all-green does not always run');
}

// All that is wrong with a set of workflows: {name: text}.
function check(texts) {
    const found = [], pins = new Map(), called = new Set();
    for (const [name, text] of Object.entries(texts)) {
        const say = what => { found.push(`${name}: ${what}`); };
        const document = parseDocument(text, {uniqueKeys: true});
        if (document.errors.length) { say(document.errors[0].message); continue; }
        const flow = document.toJS();
        if (!flow.concurrency) say('no concurrency group');
        checkPins(document, say, pins);
        checkPermissions(name, flow, say);
        for (const [id, job] of Object.entries(flow.jobs)) checkJob(id, job, say, called);
        checkGate(name, flow, say);
    }
    for (const target of announced)
        if (!called.has(target) && !NOT_CALLED[target]) found.push(`no workflow calls make ${target}`);
    return found;
}

// Each breaks one rule of ci.yml: what to replace, by what, and what is to be said of it.
const BREAKS = [
    [/@[0-9a-f]{40} #/, '@v6 #', /not pinned by a full hash/],
    [/@[0-9a-f]{39}[0-9a-f] #/, match => `${match.slice(0, -3)} #`, /not pinned by a full hash/],
    [/ # v[\d.]+/, '', /no version next to the hash/],
    [/ # v[\d.]+/, ' # the newest', /no version next to the hash/],
    [/checkout@[0-9a-f]{40}/, `checkout@${'0'.repeat(40)}`, /two versions of one action/],
    [/permissions:\n  contents: read/, 'permissions:\n  contents: write', /not \{\} or contents: read/],
    [/permissions:\n  contents: read\n/, '', /not \{\} or contents: read/],
    [/permissions:\n  contents: read/, 'permissions: write-all', /not \{\} or contents: read/],
    [/    timeout-minutes: \d+\n/, '    permissions: {packages: write}\n    timeout-minutes: 15\n', /to write what it need not/],
    [/    timeout-minutes: \d+\n/, '', /lint: no timeout-minutes/],
    [/concurrency:\n.*\n.*\n/, '', /no concurrency group/],
    [/  pull_request:\n/, '  pull_request_target:\n', /gives strangers our rights/],
    [/persist-credentials: false/, 'persist-credentials: true', /leaves its token/],
    [/macos-\d+/, 'macos-latest', /changes by itself/],
    [/run: sh .ci\/target.sh lint/, 'run: sh .ci/target.sh lint && true', /no target of the Makefile/],
    [/run: sh .ci\/target.sh lint/, 'run: sh .ci/target.sh limt', /no target of the Makefile: limt/],
    [/run: sh .ci\/target.sh lint/, 'run: ./configure', /neither make nor a script/],
    [/run: sh .ci\/target.sh lint/, 'run: |\n          make lint\n          echo done', /neither make nor a script: echo/],
    [/run: sh .ci\/target.sh lint/, 'run: sh .ci/target.sh lint CC=${{ github.head_ref }}', /an expression other than/],
    [/run: sh .ci\/gate.sh/, 'run: sh .ci/gates.sh', /no script of this tree/],
    [/usesh: true\n          run: sh .ci\/foreign.sh/, 'usesh: true\n          run: uname', /neither make nor a script: uname/],
    [/          - valgrind\n/, '          - valgrin\n', /no target of the Makefile: valgrin/],
    [/          - valgrind\n/, '', /no workflow calls make valgrind/],
    [/needs: \[lint, /, 'needs: [', /all-green does not need lint/],
    [/    if: always\(\)\n    needs/, '    needs', /does not always run/],
    [/  all-green:/, '  some-green:', /no job all-green/],
    [/jobs:\n/, 'jobs: [\n', /./],
];

const texts = Object.fromEntries(fs.readdirSync(FOLDER).filter(name => /\.ya?ml$/.test(name))
    .map(name => [name, fs.readFileSync(path.join(FOLDER, name), 'utf8')]));
let passed = 0, failed = 0;
const verdict = (fine, text) => { fine ? passed++ : failed++; if (!fine) console.log(`FAIL  ${text}`); };

const found = check(texts);
for (const name of [...Object.keys(texts), 'no workflow calls']) {
    const mine = found.filter(text => text.startsWith(name));
    verdict(!mine.length, mine.join('\n      '));
}
for (const [what, by, said] of BREAKS) {
    const broken = texts['ci.yml'].replace(what, by);
    if (broken === texts['ci.yml']) { verdict(false, `${what} is not in ci.yml: break this rule in another way`); continue; }
    const fresh = check({...texts, 'ci.yml': broken}).filter(text => !found.includes(text));
    verdict(fresh.some(text => said.test(text)), `${what} by ${JSON.stringify(String(by))}: not noticed, but: ${fresh.join('; ')}`);
}
console.log(`# ${Object.keys(texts).length} workflows, ${BREAKS.length} rules broken on purpose`);
console.log(`${passed} passed, ${failed} failed, 0 skipped`);
process.exit(failed ? 1 : 0);
