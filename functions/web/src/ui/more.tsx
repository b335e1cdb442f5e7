import { Button } from './button';
import css from './more.module.css';

type Props = {
  /** Whether the list goes on. */
  readonly when: boolean;
  readonly busy: boolean;
  readonly onClick: () => void;
  readonly children: string;
};

/** The end of a list that grows by a page at a time. */
export function More({ when, busy, onClick, children }: Props) {
  return when ? (
    <p className={css.more}>
      <Button busy={busy} onClick={onClick}>
        {children}
      </Button>
    </p>
  ) : null;
}
