import { useQuery } from '@tanstack/react-query';
import { lazy, Suspense, useMemo } from 'react';
import type { SchemaSeriesStep } from '../../api/openapi.gen';
import type { Credit } from '../../api/operations';
import { client } from '../../data/client';
import { useNow } from '../../data/clock';
import { useConfig } from '../../data/credit';
import { Boundary } from '../../ui/boundary';
import { Disclosure } from '../../ui/disclosure';
import { Chips } from '../../ui/field';
import { utcDay } from '../../ui/format-more';
import { Money } from '../../ui/money';
import { PlainTable } from '../../ui/plain-table';
import { Block, Load, Skeleton } from '../../ui/states';
import type { Column } from '../../ui/table';
import { Moment } from '../../ui/time';
import { seriesOptions } from './data';
import css from './page.module.css';
import { chartSentence, points, RANGES, type Range } from './points';

const Chart = lazy(() => import('./chart'));
const CHIPS = (Object.keys(RANGES) as Range[]).map((value) => ({ value, label: RANGES[value].label }));

type Props = { readonly credit: Credit; readonly range: Range; readonly onRange: (range: Range) => void };

/** The credit over time and how it goes on. */
export function History({ credit, range, onRange }: Props) {
  const now = useNow(60);
  const query = useQuery(seriesOptions(range, now), client);
  return (
    <Block
      title="Credit over time"
      query={query}
      actions={<Chips label="Length of time" value={range} onChange={onRange} options={CHIPS} />}
    >
      <Load query={query} skeleton={<Skeleton lines={1} height="15rem" />}>
        {(series) => <Picture series={series} credit={credit} range={range} now={now} />}
      </Load>
    </Block>
  );
}

type PictureProps = {
  readonly series: readonly SchemaSeriesStep[];
  readonly credit: Credit;
  readonly range: Range;
  readonly now: number;
};

function Picture({ series, credit, range, now }: PictureProps) {
  const usual = useConfig().data?.lowCredit ?? 2;
  const { step } = RANGES[range];
  const drawn = useMemo(() => points(series, step, credit, now, usual), [series, step, credit, now, usual]);
  const sentence = chartSentence(series, range, credit, now);
  return (
    <>
      <Boundary>
        <Suspense fallback={<Skeleton lines={1} height="15rem" />}>
          <Chart points={drawn} now={now} label={sentence} />
        </Suspense>
      </Boundary>
      <p className={css.caption}>{sentence} Solid is the past, dashed is what comes if nothing changes.</p>
      {series.length > 0 ? (
        <Disclosure summary="The same as a table">
          {() => (
            <PlainTable
              caption={step === 'day' ? 'Credit by day' : 'Credit by hour'}
              rows={[...series].reverse()}
              columns={step === 'day' ? DAYS : HOURS}
              id={(row) => row.at}
            />
          )}
        </Disclosure>
      ) : (
        <p className="muted">Nothing is known of the time before now: the balance has not changed yet.</p>
      )}
    </>
  );
}

const FIGURES: readonly Column<SchemaSeriesStep>[] = [
  { id: 'charged', header: 'Used', end: true, cell: (row) => <Money amount={row.charged} digits={4} /> },
  { id: 'added', header: 'Added', end: true, cell: (row) => <Money amount={row.added} digits={4} /> },
  { id: 'balance', header: 'Balance at its end', end: true, cell: (row) => <Money amount={row.balance} digits={4} /> },
];
const HOURS: readonly Column<SchemaSeriesStep>[] = [
  { id: 'at', header: 'Hour from', card: 'title', cell: (row) => <Moment at={row.at} /> },
  ...FIGURES,
];
const DAYS: readonly Column<SchemaSeriesStep>[] = [
  { id: 'at', header: 'Day (UTC)', card: 'title', cell: (row) => utcDay(row.at) },
  ...FIGURES,
];
