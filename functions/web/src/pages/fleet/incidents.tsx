import { useMemo, useState } from 'react';
import type { Incident } from '../../api/operations';
import { Button } from '../../ui/button';
import { Link } from '../../ui/link';
import { Status } from '../../ui/status';
import { Age } from '../../ui/time';
import { detailOf, type Group, grouped, groupTitle, subjectOf } from './hosts';
import { useCheck } from './operations';
import css from './page.module.css';

const TONES = { critical: 'bad', warning: 'warn', info: 'off' } as const;
const WORDS = { critical: 'Critical', warning: 'Warning', info: 'Note' } as const;
const FIRST = 12;

/** Worst first. Arrows move between them, Enter goes to what one is about. */
export function Incidents({ incidents }: { incidents: readonly Incident[] }) {
  const [all, setAll] = useState(false);
  const groups = useMemo(() => grouped(incidents), [incidents]);
  if (incidents.length === 0)
    return (
      <p>
        <Status tone="ok">Nothing is wrong, as far as the hosts were read.</Status>
      </p>
    );
  const onKeyDown = (event: React.KeyboardEvent<HTMLElement>) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined || !(event.target instanceof HTMLAnchorElement)) return;
    const links = [...event.currentTarget.querySelectorAll<HTMLElement>('a[data-incident]')];
    links[links.indexOf(event.target) + step]?.focus();
    event.preventDefault();
  };
  return (
    <>
      <ol className={css.incidents} onKeyDown={onKeyDown}>
        {(all ? groups : groups.slice(0, FIRST)).map((group) => (
          <Line key={group.key} group={group} />
        ))}
      </ol>
      {groups.length > FIRST ? (
        <Button look="quiet" small onClick={() => setAll(!all)}>
          {all ? 'Only the worst' : `All ${groups.length}`}
        </Button>
      ) : null}
    </>
  );
}

function Line({ group }: { group: Group }) {
  const { first, all } = group;
  const check = useCheck();
  const many = all.length > 1;
  const since = all.map((one) => one.since).filter((at) => at !== undefined);
  const { nodeId } = first;
  const three = all.slice(0, 3).map((one) => one.title);
  const detail = many ? `${three.join('; ')}; …` : detailOf(first);
  return (
    <li className={css.incident}>
      <div className={css.what}>
        <Status tone={TONES[first.severity]}>
          <span className="unseen">{WORDS[first.severity]}: </span>
          {many ? (
            <Link href="/containers?show=attention" data-incident className={css.subject}>
              {groupTitle(group)}
            </Link>
          ) : (
            <Subject incident={first} />
          )}
        </Status>
        {detail === null ? null : <p className={css.detail}>{detail}</p>}
      </div>
      <span className={css.age}>{since.length > 0 ? <Age at={since.sort()[0] ?? null} /> : null}</span>
      {first.scope === 'node' && nodeId !== undefined ? (
        <Button small busy={check.busy} onClick={() => check.run(nodeId)}>
          Check now<span className="unseen"> {nodeId}</span>
        </Button>
      ) : null}
    </li>
  );
}

function Subject({ incident }: { incident: Incident }) {
  const to = subjectOf(incident);
  if (to === null) return <>{incident.title}</>;
  return (
    <Link href={to} data-incident className={css.subject}>
      {incident.title}
    </Link>
  );
}
