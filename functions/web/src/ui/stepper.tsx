import { Check, X } from 'lucide-react';
import { Status } from './status';
import css from './stepper.module.css';

export type Step = {
  readonly name: string;
  readonly state: 'done' | 'active' | 'todo' | 'failed';
  readonly note?: React.ReactNode;
};

const WORD = { done: 'done', active: 'in progress', todo: 'to do', failed: 'failed' } as const;

export function Stepper({ steps, label }: { steps: readonly Step[]; label: string }) {
  return (
    <ol className={css.steps} aria-label={label} aria-live="polite">
      {steps.map((step) => (
        <li
          key={step.name}
          className={css.step}
          data-state={step.state}
          aria-current={step.state === 'active' ? 'step' : undefined}
        >
          <span className={css.mark}>
            {step.state === 'done' ? <Check size={14} aria-hidden="true" /> : null}
            {step.state === 'failed' ? <X size={14} aria-hidden="true" /> : null}
            {step.state === 'active' ? <Status tone="busy">{''}</Status> : null}
          </span>
          <span className={css.name}>
            {step.name}
            <span className="unseen">: {WORD[step.state]}</span>
          </span>
          <span className={css.note}>{step.note}</span>
        </li>
      ))}
    </ol>
  );
}
