import { useQuery } from '@tanstack/react-query';
import { jobOptions } from '../../data/jobs';
import { currentStep, stepWord } from '../../data/steps';
import { Elapsed } from '../../ui/time';

/** What a job does at the moment, and for how long it has been running. */
export default function JobNote({ jobId, agentId }: { jobId: string; agentId: string }) {
  const { data } = useQuery(jobOptions(jobId, agentId));
  if (!data) return null;
  const step = currentStep(data.data);
  return (
    <>
      {step ? `· ${stepWord(step)} ` : ''}
      <Elapsed since={data.data.createdAt} until={data.data.completedAt} />
    </>
  );
}
