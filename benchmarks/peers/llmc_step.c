/* Training steps by llm.c on request, for benchmarks/process.py: a number of steps comes in on each line, JSON goes out.

   It stands where train_gpt2.c has its own main, which it leaves out as llm.c's tests do. A step is the five calls
   that are timed there; no gradient is clipped, and none is looked at for NaN.

   Usage: llmc_step MODEL.bin TOKENS.bin B T LEARNING_RATE BETA1 BETA2 EPSILON WEIGHT_DECAY */

#define TESTING
#include "train_gpt2.c"

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 10) return 2;
    /* llm.c tells of the model on the standard output, which the answers have for themselves. */
    FILE *answers = fdopen(dup(1), "w");
    if (answers == NULL || freopen("/dev/null", "w", stdout) == NULL) return 2;

    const int B = atoi(argv[3]), T = atoi(argv[4]);
    const float learning_rate = atof(argv[5]), beta1 = atof(argv[6]), beta2 = atof(argv[7]);
    const float epsilon = atof(argv[8]), weight_decay = atof(argv[9]);
    GPT2 model;
    DataLoader loader;
    gpt2_build_from_checkpoint(&model, argv[1]);
    dataloader_init(&loader, argv[2], B, T, 0, 1, 0);
    fprintf(answers, "{\"description\": \"llm.c\"}\n");
    fflush(answers);

    int n_steps, t = 0;
    while (scanf("%d", &n_steps) == 1) {
        float *losses = (float *)mallocCheck((n_steps + 1) * sizeof(float));
        const double busy = now(CLOCK_PROCESS_CPUTIME_ID), begin = now(CLOCK_MONOTONIC);
        for (int i = 0; i < n_steps; i++) {
            dataloader_next_batch(&loader);
            gpt2_forward(&model, loader.inputs, loader.targets, B, T);
            gpt2_zero_grad(&model);
            gpt2_backward(&model);
            gpt2_update(&model, learning_rate, beta1, beta2, epsilon, weight_decay, ++t);
            losses[i] = model.mean_loss;
        }
        fprintf(answers, "{\"seconds\": %.9f, \"busy\": %.9f, \"found\": [", now(CLOCK_MONOTONIC) - begin,
                now(CLOCK_PROCESS_CPUTIME_ID) - busy);
        for (int i = 0; i < n_steps; i++) fprintf(answers, "%s%.9g", i ? ", " : "", losses[i]);
        fprintf(answers, "]}\n");
        fflush(answers);
        free(losses);
    }
    return 0;
}
